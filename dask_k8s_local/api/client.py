"""The API server without HTTP, for controllers and nodes in the same event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from dask_k8s_local.api import errors
from dask_k8s_local.api.kinds.registry import Registry
from dask_k8s_local.api.kinds.served import Served
from dask_k8s_local.api.objects.operations import Operations
from dask_k8s_local.api.objects.options import DeleteOptions, Write
from dask_k8s_local.api.patches.merge import merge_patch
from dask_k8s_local.api.storage.event_queue import Watch
from dask_k8s_local.api.storage.selectors import Selection, matcher
from dask_k8s_local.api.storage.store import clone
from dask_k8s_local.interfaces import EventType, Object

_STATUS = "status"


class Client:
    """Implements `dask_k8s_local.interfaces.Api`."""

    def __init__(
        self, registry: Registry, operations: Operations, field_manager: str = "local-kubernetes"
    ) -> None:
        self._registry = registry
        self._operations = operations
        self._field_manager = field_manager

    def named(self, field_manager: str) -> Client:
        """Return the same client under another name, as ``managedFields`` shows it."""
        return Client(self._registry, self._operations, field_manager)

    def _served(self, resource: str) -> Served:
        served = self._registry.named(resource)
        if served is None:
            raise errors.unknown_path()
        return served

    def _write(self, subresource: str = "") -> Write:
        return Write(field_manager=self._field_manager, subresource=subresource)

    async def get(self, resource: str, namespace: str | None, name: str) -> Object:
        body: Object = clone(self._operations.get(self._served(resource), namespace or "", name).object)
        return body

    async def list(
        self,
        resource: str,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        where: Callable[[Object], bool] = lambda _: True,
    ) -> list[Object]:
        selection = Selection(namespace, label_selector, field_selector)
        found = self._operations.list(self._served(resource), selection)
        return [clone(one.object) for one in found if where(one.object)]

    async def watch(
        self, resource: str, *, label_selector: str = "", field_selector: str = ""
    ) -> AsyncIterator[tuple[EventType, Object]]:
        served = self._served(resource)
        matches = matcher(
            served.resource, Selection(None, label_selector, field_selector), served.selectable_fields
        )
        watch = Watch(self._operations.store.collection(resource), None, matches)
        try:
            for revision in watch.start(None):
                yield "ADDED", clone(revision.object)
            while True:
                await watch.wait()
                for type_, event in watch.take():
                    yield type_, clone(event.object(type_)[0])
        finally:
            watch.close()

    async def create(self, resource: str, namespace: str | None, body: Object) -> Object:
        revision = self._operations.create(self._served(resource), namespace or "", body, self._write())
        created: Object = clone(revision.object)
        return created

    async def update(
        self, resource: str, namespace: str | None, body: Object, subresource: str = ""
    ) -> Object:
        name = body["metadata"]["name"]
        revision = self._operations.update(
            self._served(resource), namespace or "", name, body, self._write(subresource)
        )
        updated: Object = clone(revision.object)
        return updated

    async def patch(
        self, resource: str, namespace: str | None, name: str, patch: Object, subresource: str = ""
    ) -> Object:
        revision = self._operations.patch(
            self._served(resource),
            namespace or "",
            name,
            lambda old: merge_patch(old, patch),
            self._write(subresource),
        )
        patched: Object = clone(revision.object)
        return patched

    async def delete(
        self,
        resource: str,
        namespace: str | None,
        name: str,
        *,
        uid: str | None = None,
        grace_period_seconds: int | None = None,
        propagation_policy: str | None = None,
    ) -> None:
        options = DeleteOptions(
            uid=uid, grace_period_seconds=grace_period_seconds, propagation_policy=propagation_policy
        )
        self._operations.delete(self._served(resource), namespace or "", name, options)
