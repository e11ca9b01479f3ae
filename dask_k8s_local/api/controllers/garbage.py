"""Garbage collection: what is owned goes with its owners.

https://kubernetes.io/docs/concepts/architecture/garbage-collection/
"""

from __future__ import annotations

from collections import defaultdict

from dask_k8s_local.api.kinds.registry import Registry
from dask_k8s_local.api.kinds.served import Served
from dask_k8s_local.api.objects.deletion import FOREGROUND, ORPHAN
from dask_k8s_local.api.objects.operations import Operations
from dask_k8s_local.api.objects.options import DeleteOptions, Write
from dask_k8s_local.api.storage.store import Event, Key
from dask_k8s_local.interfaces import ApiError, Object
from dask_k8s_local.workloads.queue import WorkQueue

Item = tuple[str, Key]
"""A resource's full name and the key of an object."""


class GarbageCollector:
    """Follows owner references through every write, and deletes dependents after or before their owners."""

    def __init__(self, registry: Registry, operations: Operations) -> None:
        self._registry = registry
        self._operations = operations
        self._dependents: defaultdict[str, set[Item]] = defaultdict(set)
        self._gone: set[str] = set()
        self.queue: WorkQueue[Item] = WorkQueue(self._reconcile)
        operations.store.listen(self._observe)

    def _observe(self, resource: str, event: Event) -> None:
        own = event.now.object["metadata"]
        before = event.before.object["metadata"] if event.before else {}
        item = (resource, event.now.key)
        if event.type == "DELETED":
            for owner in before.get("ownerReferences") or ():
                self._forget(owner["uid"], item)
                self._look_at_owner(own, owner)
            if own["uid"] in self._dependents:
                self._gone.add(own["uid"])
            for dependent in self._dependents.get(own["uid"], ()):
                self.queue.add(dependent)
            return
        owners, owners_before = own.get("ownerReferences"), before.get("ownerReferences")
        if owners != owners_before:
            for owner in owners_before or ():
                self._forget(owner["uid"], item)
                self._look_at_owner(own, owner)
            for owner in owners or ():
                self._dependents[owner["uid"]].add(item)
            if owners:
                self.queue.add(item)
        if "deletionTimestamp" in own and {ORPHAN, FOREGROUND} & set(own.get("finalizers") or ()):
            self.queue.add(item)
            for dependent in self._dependents.get(own["uid"], ()):
                self.queue.add(dependent)

    def _forget(self, uid: str, item: Item) -> None:
        items = self._dependents.get(uid)
        if items is not None:
            items.discard(item)
            if not items:
                del self._dependents[uid]
                self._gone.discard(uid)

    def _look_at_owner(self, own: Object, owner: Object) -> None:
        """An owner that waits for its dependents may be done now."""
        served = self._registry.of_kind(owner["apiVersion"], owner["kind"])
        if served is not None:
            namespace = own.get("namespace", "") if served.resource.namespaced else ""
            self.queue.add((served.resource.full_name, (namespace, owner["name"])))

    async def _reconcile(self, item: Item) -> None:
        name, key = item
        served = self._registry.named(name)
        revision = self._operations.store.collection(name).get(key) if served else None
        if served is None or revision is None:
            return
        body = revision.object
        own = body["metadata"]
        finalizers = own.get("finalizers") or ()
        if "deletionTimestamp" in own:
            if ORPHAN in finalizers:
                self._orphan_dependents(own["uid"])
                self._drop_finalizer(served, key, ORPHAN)
            elif FOREGROUND in finalizers and not self._blocking(own["uid"]):
                self._drop_finalizer(served, key, FOREGROUND)
            return
        if own.get("ownerReferences"):
            self._judge(served, key, body)

    def _judge(self, served: Served, key: Key, body: Object) -> None:
        """Delete an object that has owners, but none that is there to stay."""
        own = body["metadata"]
        solid, dangling, waiting = [], [], []
        for reference in own["ownerReferences"]:
            owner = self._owner(reference, key[0])
            if owner is None:
                dangling.append(reference)
            elif "deletionTimestamp" in owner["metadata"] and FOREGROUND in (
                owner["metadata"].get("finalizers") or ()
            ):
                waiting.append(reference)
            else:
                solid.append(reference)
        if solid:
            if dangling or waiting:
                self._change(served, key, {"ownerReferences": solid})
            return
        policy = "Background"
        if waiting and self._dependents.get(own["uid"]):
            policy = "Foreground"
        elif ORPHAN in (own.get("finalizers") or ()):
            policy = "Orphan"
        elif FOREGROUND in (own.get("finalizers") or ()):
            policy = "Foreground"
        self._operations.delete(served, *key, DeleteOptions(uid=own["uid"], propagation_policy=policy))

    def _owner(self, reference: Object, namespace: str) -> Object | None:
        """Return the owner if it exists; that of an unknown kind does, unless its end was seen."""
        if reference["uid"] in self._gone:
            return None
        served = self._registry.of_kind(reference["apiVersion"], reference["kind"])
        if served is None or (served.resource.namespaced and not namespace):
            return {"metadata": {}}
        key = (namespace if served.resource.namespaced else "", reference["name"])
        found = self._operations.store.collection(served.resource.full_name).get(key)
        if found is None or found.object["metadata"]["uid"] != reference["uid"]:
            return None
        return found.object

    def _blocking(self, uid: str) -> bool:
        for name, key in self._dependents.get(uid, ()):
            found = self._operations.store.collection(name).get(key)
            if found is not None and any(
                owner["uid"] == uid and owner.get("blockOwnerDeletion")
                for owner in found.object["metadata"].get("ownerReferences") or ()
            ):
                return True
        return False

    def _orphan_dependents(self, uid: str) -> None:
        for name, key in list(self._dependents.get(uid, ())):
            served = self._registry.named(name)
            found = self._operations.store.collection(name).get(key)
            if served is not None and found is not None:
                owners = found.object["metadata"].get("ownerReferences") or ()
                self._change(
                    served, key, {"ownerReferences": [owner for owner in owners if owner["uid"] != uid]}
                )

    def _drop_finalizer(self, served: Served, key: Key, finalizer: str) -> None:
        finalizers = self._operations.get(served, *key).object["metadata"].get("finalizers") or ()
        self._change(served, key, {"finalizers": [one for one in finalizers if one != finalizer]})

    def _change(self, served: Served, key: Key, fields: Object) -> None:
        def changed(body: Object) -> Object:
            return {**body, "metadata": {**body["metadata"], **fields}}

        try:
            self._operations.patch(served, *key, changed, Write(field_manager="garbage-collector"))
        except ApiError as error:
            if error.code != 404:
                raise
