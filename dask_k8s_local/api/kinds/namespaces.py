"""Namespaces: they go in two steps, first their contents, then themselves."""

from __future__ import annotations

from dask_k8s_local.api.kinds.strategy import Strategy, carry_over
from dask_k8s_local.api.meta import names
from dask_k8s_local.interfaces import Object


class NamespaceStrategy(Strategy):
    """https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/"""

    has_status = True
    valid_name = staticmethod(names.label_problem)

    def default(self, body: Object) -> None:
        labels = body["metadata"].setdefault("labels", {})
        labels["kubernetes.io/metadata.name"] = body["metadata"].get("name", "")

    def prepare_for_create(self, body: Object) -> None:
        body["status"] = {"phase": "Active"}
        finalizers = body.setdefault("spec", {}).setdefault("finalizers", [])
        if "kubernetes" not in finalizers:
            finalizers.append("kubernetes")

    def prepare_for_update(self, new: Object, old: Object) -> None:
        super().prepare_for_update(new, old)
        carry_over(new, old, "spec")

    def claimed(self, body: Object) -> Object:
        return {key: value for key, value in body.items() if key not in ("spec", "status")}

    def note_deletion(self, body: Object) -> Object:
        return {**body, "status": {**(body.get("status") or {}), "phase": "Terminating"}}

    def holds(self, body: Object) -> bool:
        return bool((body.get("spec") or {}).get("finalizers"))
