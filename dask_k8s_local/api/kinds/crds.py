"""CustomResourceDefinitions: accepted and established as soon as they are valid."""

from __future__ import annotations

from dask_k8s_local.api import metadata
from dask_k8s_local.api.strategy import GenerationStrategy
from dask_k8s_local.interfaces import Object


class CrdStrategy(GenerationStrategy):
    """https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/"""

    def default(self, body: Object) -> None:
        spec = body.setdefault("spec", {})
        spec.setdefault("conversion", {}).setdefault("strategy", "None")
        names = spec.setdefault("names", {})
        if names.get("kind"):
            names.setdefault("singular", names["kind"].lower())
            names.setdefault("listKind", f"{names['kind']}List")

    def prepare_for_create(self, body: Object) -> None:
        now = metadata.timestamp()
        self.default(body)
        spec = body["spec"]
        body["status"] = {
            "acceptedNames": spec["names"],
            "conditions": [
                {
                    "type": "NamesAccepted",
                    "status": "True",
                    "reason": "NoConflicts",
                    "message": "no conflicts found",
                    "lastTransitionTime": now,
                },
                {
                    "type": "Established",
                    "status": "True",
                    "reason": "InitialNamesAccepted",
                    "message": "the initial names have been accepted",
                    "lastTransitionTime": now,
                },
            ],
            "storedVersions": [one["name"] for one in spec.get("versions") or () if one.get("storage")],
        }
