"""ResourceQuotas: how much is used.

https://kubernetes.io/docs/concepts/policy/resource-quotas/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal

from dask_k8s_local.interfaces import Api, ApiError, Object
from dask_k8s_local.quantity import parse
from dask_k8s_local.workloads.queue import Controller, Key, own_key

Quantities = dict[str, Decimal]

_COUNTED = {
    "pods": "pods",
    "services": "services",
    "services.nodeports": "services",
    "services.loadbalancers": "services",
    "configmaps": "configmaps",
    "secrets": "secrets",
    "persistentvolumeclaims": "persistentvolumeclaims",
    "resourcequotas": "resourcequotas",
}
_SHORT = {"cpu": "requests.cpu", "memory": "requests.memory"}
_WATCHED = ("pods", "services", "configmaps", "secrets")


class QuotaController(Controller):
    """Writes the status of quotas."""

    def __init__(self, api: Api) -> None:
        super().__init__(api)
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
        used = usage(hard, lambda resource: objects[resource])
        status = {"hard": hard, "used": {name: format(amount, "f") for name, amount in used.items()}}
        if status != quota.get("status"):
            await self.api.update("resourcequotas", key[0], {**quota, "status": status}, "status")
        return None


def counted_resource(name: str) -> str | None:
    """Return the resource whose objects a quota's entry is about, called as kubectl calls it in full."""
    if name.startswith("count/"):
        return name.removeprefix("count/")
    if name in _COUNTED:
        return _COUNTED[name]
    return "pods" if name in _SHORT or name.startswith(("requests.", "limits.")) else None


def use(name: str, body: Object) -> Decimal:
    """Return how much one object uses of a quota's entry."""
    if counted_resource(name) == "pods" and not name.startswith("count/"):
        if (body.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            return Decimal(0)
        return Decimal(1) if name == "pods" else _pod_use(name, body)
    kind = (body.get("spec") or {}).get("type")
    if name == "services.loadbalancers":
        return Decimal(kind == "LoadBalancer")
    if name == "services.nodeports":
        ports = (body.get("spec") or {}).get("ports") or ()
        return Decimal(sum(bool(port.get("nodePort")) for port in ports))
    return Decimal(1)


def _pod_use(name: str, pod: Object) -> Decimal:
    kind, _, resource = _SHORT.get(name, name).partition(".")
    amounts = [_amount(container, kind, resource) for container in pod["spec"].get("containers") or ()]
    first = [_amount(container, kind, resource) for container in pod["spec"].get("initContainers") or ()]
    return max(sum(amounts, Decimal(0)), max(first, default=Decimal(0)))


def _amount(container: Object, kind: str, resource: str) -> Decimal:
    amounts = (container.get("resources") or {}).get(kind) or {}
    return parse(amounts[resource]) if resource in amounts else Decimal(0)


def unspecified(name: str, pod: Object) -> Iterator[str]:
    """Yield the containers that a quota on requests or limits refuses for not saying theirs."""
    kind, _, resource = _SHORT.get(name, name).partition(".")
    if resource not in ("cpu", "memory"):
        return
    for container in pod["spec"].get("containers") or ():
        if resource not in ((container.get("resources") or {}).get(kind) or {}):
            yield container["name"]


def usage(hard: Iterable[str], objects: Callable[[str], Iterable[Object]]) -> Quantities:
    """Return what is used of a quota's entries, given the objects of its namespace by resource."""
    used = {}
    for name in hard:
        resource = counted_resource(name)
        if resource is not None:
            used[name] = sum((use(name, body) for body in objects(resource)), Decimal(0))
    return used
