"""What may not exist although it is valid: objects in a namespace that isn't there or is going."""

from __future__ import annotations

from dask_k8s_local.api import errors
from dask_k8s_local.api.resources import Resource
from dask_k8s_local.api.store import Store
from dask_k8s_local.interfaces import ApiError, Object

_NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
_PERMANENT = ("default", "kube-system", "kube-public")


class Admission:
    """Checks that look at more than the object itself."""

    def __init__(self, store: Store) -> None:
        self._namespaces = store.collection("namespaces")

    def admit_create(self, resource: Resource, namespace: str, body: Object) -> None:
        if not resource.namespaced:
            return
        found = self._namespaces.get(("", namespace))
        if found is None:
            raise errors.not_found(_NAMESPACES, namespace)
        if found.object["metadata"].get("deletionTimestamp"):
            raise _terminating(resource, body["metadata"].get("name", ""), namespace)

    def admit_update(self, resource: Resource, new: Object, old: Object) -> None:
        """Refuse nothing: what exists may be changed, also in a namespace that is going."""

    def admit_delete(self, resource: Resource, body: Object) -> None:
        if resource.full_name == "namespaces" and body["metadata"]["name"] in _PERMANENT:
            raise errors.forbidden(resource, body["metadata"]["name"], "this namespace may not be deleted")


def _terminating(resource: Resource, name: str, namespace: str) -> ApiError:
    why = f"unable to create new content in namespace {namespace} because it is being terminated"
    cause = errors.Cause(
        "NamespaceTerminating", "metadata.namespace", f"namespace {namespace} is being terminated"
    )
    return errors.forbidden(resource, name, why, [cause])
