"""What may not exist although it is valid: in a namespace that is going, beyond a quota."""

from __future__ import annotations

from dask_k8s_local.api import errors
from dask_k8s_local.api.admission import limit_ranges, quotas
from dask_k8s_local.api.admission.pods import mount_token, tolerate_lost_nodes
from dask_k8s_local.api.resource import Resource
from dask_k8s_local.api.storage.store import Store
from dask_k8s_local.interfaces import ApiError, Object

_NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
_CRDS = "customresourcedefinitions.apiextensions.k8s.io"
_PERMANENT = ("default", "kube-system", "kube-public")
_PRIORITY_CLASSES = {"system-cluster-critical": 2000000000, "system-node-critical": 2000001000}


class Admission:
    """Checks that look at more than the object itself, and what they fill in."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._namespaces = store.collection("namespaces")

    def mutate(self, resource: Resource, namespace: str, body: Object) -> None:
        """Fill in what depends on other objects."""
        if resource.full_name == "pods":
            self._set_service_account(resource, namespace, body)
            self._set_priority(resource, body)
            tolerate_lost_nodes(body["spec"])
            limit_ranges.fill_in(self._store, namespace, body["spec"])

    def admit_create(self, resource: Resource, namespace: str, body: Object) -> None:
        """Refuse what may not be created."""
        if resource.custom:
            crd = self._store.collection(_CRDS).get(("", resource.full_name))
            if crd is not None and "deletionTimestamp" in crd.object["metadata"]:
                why = "create not allowed while custom resource definition is terminating"
                raise ApiError(405, "MethodNotAllowed", why)
        if not resource.namespaced:
            return
        found = self._namespaces.get(("", namespace))
        if found is None:
            raise errors.not_found(_NAMESPACES, namespace)
        if found.object["metadata"].get("deletionTimestamp"):
            raise _terminating(resource, body["metadata"].get("name", ""), namespace)
        if resource.full_name == "pods":
            limit_ranges.admit(self._store, resource, namespace, body)
        quotas.admit(self._store, resource, namespace, body)

    def admit_delete(self, resource: Resource, body: Object) -> None:
        if resource.full_name == "namespaces" and body["metadata"]["name"] in _PERMANENT:
            raise errors.forbidden(resource, body["metadata"]["name"], "this namespace may not be deleted")

    def _set_service_account(self, resource: Resource, namespace: str, pod: Object) -> None:
        spec = pod["spec"]
        name = spec.setdefault("serviceAccountName", "default")
        spec["serviceAccount"] = name
        account = self._store.collection("serviceaccounts").get((namespace, name))
        # The default account comes right after its namespace: nobody shall have to wait for it.
        if account is None and name != "default":
            why = f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found'
            raise errors.forbidden(resource, pod["metadata"].get("name", ""), why)
        asked = spec.get("automountServiceAccountToken")
        if asked is None:
            asked = account.object.get("automountServiceAccountToken", True) if account else True
        if asked:
            mount_token(spec)

    def _set_priority(self, resource: Resource, pod: Object) -> None:
        spec = pod["spec"]
        classes = self._store.collection("priorityclasses.scheduling.k8s.io")
        name = spec.get("priorityClassName")
        policy = "PreemptLowerPriority"
        if name in _PRIORITY_CLASSES:
            spec["priority"] = _PRIORITY_CLASSES[name]
        elif name:
            found = classes.get(("", name))
            if found is None:
                why = f"no PriorityClass with name {name} was found"
                raise errors.forbidden(resource, pod["metadata"].get("name", ""), why)
            spec["priority"] = found.object.get("value", 0)
            policy = found.object.get("preemptionPolicy", policy)
        else:
            usual = next((one.object for one in classes.revisions() if one.object.get("globalDefault")), None)
            spec["priority"] = usual.get("value", 0) if usual else 0
            if usual:
                spec["priorityClassName"] = usual["metadata"]["name"]
        spec.setdefault("preemptionPolicy", policy)


def _terminating(resource: Resource, name: str, namespace: str) -> ApiError:
    why = f"unable to create new content in namespace {namespace} because it is being terminated"
    told = f"namespace {namespace} is being terminated"
    cause = errors.Cause("NamespaceTerminating", "metadata.namespace", told)
    return errors.forbidden(resource, name, why, [cause])
