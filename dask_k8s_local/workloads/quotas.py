"""ResourceQuotas: how much is used."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dask_k8s_local.interfaces import Api, ApiError, Object
from dask_k8s_local.workloads.queue import Controller, Key, own_key
from dask_k8s_local.workloads.usage import ReadQuantity, counted_resource, usage

_WATCHED = ("pods", "services", "configmaps", "secrets")


class QuotaController(Controller):
    """Writes the status of quotas."""

    def __init__(self, api: Api, read_quantity: ReadQuantity) -> None:
        super().__init__(api)
        self._read = read_quantity
        self._known: set[Key] = set()

    def sources(self) -> Iterable[tuple[str, Callable[[Object], Iterable[Key]]]]:
        yield "resourcequotas", self._quota_changed
        for resource in _WATCHED:
            yield resource, self._object_changed

    def _quota_changed(self, quota: Object) -> Iterable[Key]:
        (key,) = own_key(quota)
        self._known.add(key)
        yield key

    def _object_changed(self, body: Object) -> Iterable[Key]:
        namespace = body["metadata"]["namespace"]
        return [key for key in self._known if key[0] == namespace]

    async def reconcile(self, key: Key) -> float | None:
        try:
            quota = await self.api.get("resourcequotas", *key)
        except ApiError as error:
            if error.code != 404:
                raise
            self._known.discard(key)
            return None
        hard = (quota.get("spec") or {}).get("hard") or {}
        resources = {resource for name in hard if (resource := counted_resource(name)) is not None}
        objects = {resource: await self.api.list(resource, key[0]) for resource in resources}
        used = usage(hard, lambda resource: objects[resource], self._read)
        status = {"hard": hard, "used": {name: format(amount, "f") for name, amount in used.items()}}
        if status != quota.get("status"):
            await self.api.update("resourcequotas", key[0], {**quota, "status": status}, "status")
        return None
