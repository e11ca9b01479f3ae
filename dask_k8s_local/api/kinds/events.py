"""Events, which two groups show: the core one, and ``events.k8s.io``."""

from __future__ import annotations

from collections.abc import Sequence

from dask_k8s_local.api import errors
from dask_k8s_local.api.errors import Cause
from dask_k8s_local.api.kinds.served import Alias, Served
from dask_k8s_local.api.kinds.strategy import Strategy
from dask_k8s_local.interfaces import Object

_NEW_NAMES = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
_OLD_NAMES = {new: old for old, new in _NEW_NAMES.items()}
_ABOUT = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")


class EventStrategy(Strategy):
    """https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/"""

    def default(self, body: Object) -> None:
        for key in ("source", "involvedObject"):
            body.setdefault(key, {})
        for key in ("reportingComponent", "reportingInstance"):
            body.setdefault(key, "")

    def validate(self, body: Object) -> Sequence[Cause]:
        about = body["involvedObject"].get("namespace", "")
        own = body["metadata"]["namespace"]
        if about != own and not (about == "" and own == "default"):
            return (
                errors.invalid_value("involvedObject.namespace", about, "does not match event.namespace"),
            )
        return ()


def events_alias(core: Served) -> Alias:
    """Return how ``events.k8s.io`` shows the events of the core group.

    https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
    """
    fields = {f"regarding.{name}": f"involvedObject.{name}" for name in _ABOUT}
    fields["reportingController"] = "reportingComponent"
    return Alias(core, _to_core, _from_core, fields)


def _to_core(event: Object) -> Object:
    renamed = {_OLD_NAMES.get(key, key): value for key, value in event.items()}
    return {**renamed, "apiVersion": "v1"}


def _from_core(event: Object) -> Object:
    renamed = {_NEW_NAMES.get(key, key): value for key, value in event.items()}
    return {**renamed, "apiVersion": "events.k8s.io/v1"}
