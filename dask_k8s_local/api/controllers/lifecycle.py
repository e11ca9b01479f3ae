"""The beginning of CRDs, and the end of theirs and of namespaces: everything in them goes first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from dask_k8s_local.api.kinds.crds import CLEANUP, established
from dask_k8s_local.api.kinds.registry import CRDS, Registry
from dask_k8s_local.api.kinds.served import Served
from dask_k8s_local.api.meta import metadata
from dask_k8s_local.api.objects.operations import Operations
from dask_k8s_local.api.objects.options import DeleteOptions, Write
from dask_k8s_local.api.storage.store import Event, Revision, clone
from dask_k8s_local.interfaces import ApiError, Object
from dask_k8s_local.workloads.queue import WorkQueue

_FINALIZER = "kubernetes"


class NamespaceLifecycle:
    """Empties namespaces that are being deleted, then lets them go.

    https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/
    """

    def __init__(self, registry: Registry, operations: Operations) -> None:
        self._registry = registry
        self._operations = operations
        self._ending: set[str] = set()
        self.queue: WorkQueue[str] = WorkQueue(self._reconcile)
        operations.store.listen(self._observe)

    def _observe(self, resource: str, event: Event) -> None:
        namespace, name = event.now.key
        if resource == "namespaces":
            if event.type == "DELETED":
                self._ending.discard(name)
            elif "deletionTimestamp" in event.now.object["metadata"] and name not in self._ending:
                self._ending.add(name)
                self.queue.add(name)
        elif event.type == "DELETED" and namespace in self._ending:
            self.queue.add(namespace)

    async def _reconcile(self, name: str) -> None:
        served = self._registry.named("namespaces")
        found = self._operations.store.collection("namespaces").get(("", name))
        if served is None or found is None or "deletionTimestamp" not in found.object["metadata"]:
            return
        left = self._empty(name)
        write = Write(field_manager="namespace-controller", subresource="status")
        self._operations.patch(served, "", name, lambda body: {**body, "status": _status(body, left)}, write)
        if not left.objects:
            finish = Write(field_manager="namespace-controller", subresource="finalize")
            self._operations.patch(served, "", name, _without_finalizer, finish)

    def _empty(self, namespace: str) -> Left:
        """Delete what is in a namespace; return what waits for a node or a finalizer."""
        left = Left()
        for served in list(self._registry):
            resource = served.resource
            if not resource.namespaced or "delete" not in resource.verbs or served.alias:
                continue
            for revision in delete_all(self._operations, served, namespace):
                left.objects[f"{resource.plural}.{resource.group}"] += 1
                left.finalizers.update(revision.object["metadata"].get("finalizers") or ())
        return left


@dataclass
class Left:
    """What keeps a namespace from going, counted."""

    objects: Counter[str] = field(default_factory=Counter)
    finalizers: Counter[str] = field(default_factory=Counter)


def delete_all(operations: Operations, served: Served, namespace: str | None = None) -> list[Revision]:
    """Delete all objects of a resource, or those in a namespace; return those that wait for something."""
    collection = operations.store.collection(served.resource.full_name)
    keys = [one.key for one in collection.revisions() if namespace in (None, one.key[0])]
    for key in keys:
        found = collection.get(key)
        if found is not None and "deletionTimestamp" not in found.object["metadata"]:
            try:
                operations.delete(served, *key, DeleteOptions(propagation_policy="Background"))
            except ApiError as error:
                if error.code != 404:
                    raise
    return [found for key in keys if (found := collection.get(key)) is not None]


class CrdLifecycle:
    """Establishes CRDs; deletes the objects of those that are being deleted, then lets them go.

    https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#finalizers
    """

    def __init__(self, registry: Registry, operations: Operations) -> None:
        self._registry = registry
        self._operations = operations
        self._ending: set[str] = set()
        self.queue: WorkQueue[str] = WorkQueue(self._reconcile)
        operations.store.listen(self._observe)

    def _observe(self, resource: str, event: Event) -> None:
        if resource == CRDS:
            name = event.now.key[1]
            if event.type == "DELETED":
                self._ending.discard(name)
            elif "deletionTimestamp" in event.now.object["metadata"]:
                self._ending.add(name)
                self.queue.add(name)
            elif event.now.object["status"]["conditions"] is None:
                self.queue.add(name)
        elif event.type == "DELETED" and resource in self._ending:
            self.queue.add(resource)

    async def _reconcile(self, name: str) -> None:
        crds, served = self._registry.named(CRDS), self._registry.named(name)
        found = self._operations.store.collection(CRDS).get(("", name))
        if crds is None or found is None:
            return
        if "deletionTimestamp" not in found.object["metadata"]:
            write = Write(field_manager="kube-apiserver", subresource="status")
            self._operations.patch(crds, "", name, established, write)
        elif served is None or not delete_all(self._operations, served):
            write = Write(field_manager="apiextensions")
            self._operations.patch(crds, "", name, _without_cleanup, write)


def _without_cleanup(crd: Object) -> Object:
    finalizers = [one for one in crd["metadata"].get("finalizers") or () if one != CLEANUP]
    return {**crd, "metadata": {**crd["metadata"], "finalizers": finalizers}}


def _without_finalizer(body: Object) -> Object:
    spec = clone(body.get("spec") or {})
    spec["finalizers"] = [one for one in spec.get("finalizers") or () if one != _FINALIZER]
    return {**body, "spec": spec}


def _status(body: Object, left: Left) -> Object:
    before = {one["type"]: one for one in (body.get("status") or {}).get("conditions") or ()}
    conditions = []
    for type_, (status, reason, message) in _conditions(left).items():
        old = before.get(type_)
        changed = (
            metadata.timestamp() if old is None or old["status"] != status else old["lastTransitionTime"]
        )
        conditions.append(
            {
                "type": type_,
                "status": status,
                "lastTransitionTime": changed,
                "reason": reason,
                "message": message,
            }
        )
    return {"phase": "Terminating", "conditions": conditions}


def _conditions(left: Left) -> dict[str, tuple[str, str, str]]:
    remaining = ", ".join(
        f"{name} has {count} resource instances" for name, count in sorted(left.objects.items())
    )
    waiting = ", ".join(
        f"{name} in {count} resource instances" for name, count in sorted(left.finalizers.items())
    )
    return {
        "NamespaceDeletionDiscoveryFailure": (
            "False",
            "ResourcesDiscovered",
            "All resources successfully discovered",
        ),
        "NamespaceDeletionGroupVersionParsingFailure": (
            "False",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        "NamespaceDeletionContentFailure": (
            "False",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        "NamespaceContentRemaining": (
            ("True", "SomeResourcesRemain", f"Some resources are remaining: {remaining}")
            if remaining
            else ("False", "ContentRemoved", "All content successfully removed")
        ),
        "NamespaceFinalizersRemaining": (
            (
                "True",
                "SomeFinalizersRemain",
                f"Some content in the namespace has finalizers remaining: {waiting}",
            )
            if waiting
            else ("False", "ContentHasNoFinalizers", "All content-preserving finalizers finished")
        ),
    }
