"""Endpoints and EndpointSlices: the addresses of the ready pods that a Service selects.

https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any

from dask_k8s_local.interfaces import Api, ApiError, Object
from dask_k8s_local.workloads.pods import is_ready
from dask_k8s_local.workloads.queue import Controller, Key, own_key, owner_reference

_SLICES = "endpointslices.discovery.k8s.io"
_MANAGED_BY = "endpointslice-controller.k8s.io"


class Labelled:
    """Names by their labels: what is found costs as much as there is to find, however much else there is."""

    def __init__(self) -> None:
        self._labels: dict[Key, Mapping[str, str]] = {}
        self._keys: defaultdict[tuple[str, str, str], set[Key]] = defaultdict(set)

    def put(self, key: Key, labels: Mapping[str, str]) -> None:
        self.drop(key)
        self._labels[key] = labels
        for label in labels.items():
            self._keys[key[0], *label].add(key)

    def drop(self, key: Key) -> None:
        for label in self._labels.pop(key, {}).items():
            entry = (key[0], *label)
            self._keys[entry].discard(key)
            if not self._keys[entry]:
                del self._keys[entry]

    def labels(self, key: Key) -> Mapping[str, str]:
        return self._labels.get(key, {})

    def having_all(self, namespace: str, labels: Mapping[str, str]) -> set[Key]:
        return set.intersection(*(self._having(namespace, label) for label in labels.items()))

    def having_only(self, namespace: str, labels: Mapping[str, str]) -> set[Key]:
        """Return the keys whose labels are all among some."""
        some = set[Key]().union(*(self._having(namespace, label) for label in labels.items()))
        return {key for key in some if self._labels[key].items() <= labels.items()}

    def _having(self, namespace: str, label: tuple[str, str]) -> set[Key]:
        return self._keys.get((namespace, *label), set())


class EndpointsController(Controller):
    """Keeps one Endpoints object and one EndpointSlice for every Service with a selector."""

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self._services = Labelled()
        """Services by their selectors."""
        self._pods = Labelled()

    def sources(self) -> Iterable[tuple[str, Callable[[Object], Iterable[Key]]]]:
        yield "services", self._service_changed
        yield "pods", self._pod_changed

    def _service_changed(self, service: Object) -> Iterable[Key]:
        (key,) = own_key(service)
        self._services.put(key, service["spec"].get("selector") or {})
        yield key

    def _pod_changed(self, pod: Object) -> Iterable[Key]:
        """Yield the Services that select the pod, or did before its labels changed."""
        (key,) = own_key(pod)
        now, before = pod["metadata"].get("labels") or {}, self._pods.labels(key)
        self._pods.put(key, now)
        yield from self._services.having_only(key[0], now) | self._services.having_only(key[0], before)

    async def reconcile(self, key: Key) -> float | None:
        namespace, name = key
        try:
            service = await self.api.get("services", namespace, name)
        except ApiError as error:
            if error.code != 404:
                raise
            self._services.drop(key)
            await self._delete("endpoints", namespace, name)
            for one in await self.api.list(
                _SLICES, namespace, label_selector=f"kubernetes.io/service-name={name}"
            ):
                await self._delete(_SLICES, namespace, one["metadata"]["name"])
            return None
        selector = service["spec"].get("selector")
        if not selector or service["spec"].get("type") == "ExternalName":
            return None
        pods = [pod async for pod in self._selected(namespace, selector)]
        await self._write("endpoints", namespace, endpoints(service, pods))
        await self._write(_SLICES, namespace, endpoint_slice(service, pods))
        return None

    async def _selected(self, namespace: str, selector: Mapping[str, str]) -> AsyncIterator[Object]:
        for key in self._pods.having_all(namespace, selector):
            try:
                pod = await self.api.get("pods", *key)
            except ApiError as error:
                if error.code != 404:
                    raise
                self._pods.drop(key)
                continue
            has_ended = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
            if (pod.get("status") or {}).get("podIP") and not has_ended:
                yield pod

    async def _write(self, resource: str, namespace: str, wanted: Object) -> None:
        try:
            await self.api.get(resource, namespace, wanted["metadata"]["name"])
        except ApiError as error:
            if error.code != 404:
                raise
            await self.api.create(resource, namespace, wanted)
        else:
            await self.api.update(resource, namespace, wanted)

    async def _delete(self, resource: str, namespace: str, name: str) -> None:
        try:
            await self.api.delete(resource, namespace, name)
        except ApiError as error:
            if error.code != 404:
                raise


def target_port(port: Object, pod: Object) -> int | None:
    """Return the number of the pod's port that a Service's port leads to; None if the pod lacks that name."""
    target: Any = port.get("targetPort", port["port"])
    if isinstance(target, int):
        return target
    for container in pod["spec"].get("containers") or ():
        for declared in container.get("ports") or ():
            if declared.get("name") == target and declared.get("protocol", "TCP") == port.get(
                "protocol", "TCP"
            ):
                number: int = declared["containerPort"]
                return number
    return None


def _by_ports(service: Object, pods: list[Object]) -> dict[tuple[tuple[str, int, str], ...], list[Object]]:
    """Group pods by the ports that the Service's ports lead to: a named port may differ from pod to pod."""
    groups: dict[tuple[tuple[str, int, str], ...], list[Object]] = {}
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["name"])):
        ports = tuple(
            (port.get("name", ""), number, port.get("protocol", "TCP"))
            for port in service["spec"].get("ports") or ()
            if (number := target_port(port, pod)) is not None
        )
        groups.setdefault(ports, []).append(pod)
    return groups


def _port(name: str, number: int, protocol: str) -> Object:
    port: Object = {"port": number, "protocol": protocol}
    return {"name": name, **port} if name else port


def _reference(pod: Object) -> Object:
    own = pod["metadata"]
    return {"kind": "Pod", "namespace": own["namespace"], "name": own["name"], "uid": own["uid"]}


def _address(pod: Object) -> Object:
    return {
        "ip": pod["status"]["podIP"],
        "nodeName": pod["spec"].get("nodeName", ""),
        "targetRef": _reference(pod),
    }


def is_serving(service: Object, pod: Object) -> bool:
    return bool(service["spec"].get("publishNotReadyAddresses")) or (
        is_ready(pod) and not pod["metadata"].get("deletionTimestamp")
    )


def endpoints(service: Object, pods: list[Object]) -> Object:
    """Return the Endpoints object of a Service."""
    subsets = []
    for ports, group in _by_ports(service, pods).items():
        serving = [_address(pod) for pod in group if is_serving(service, pod)]
        waiting = [
            _address(pod)
            for pod in group
            if not is_serving(service, pod) and not pod["metadata"].get("deletionTimestamp")
        ]
        subset: Object = {}
        if serving:
            subset["addresses"] = serving
        if waiting:
            subset["notReadyAddresses"] = waiting
        if subset:
            if ports:
                subset["ports"] = [_port(*port) for port in ports]
            subsets.append(subset)
    own = service["metadata"]
    labels = {**(own.get("labels") or {}), "endpoints.kubernetes.io/managed-by": "endpoint-controller"}
    wanted: Object = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": own["name"], "namespace": own["namespace"], "labels": labels},
    }
    if subsets:
        wanted["subsets"] = subsets
    return wanted


def endpoint_slice(service: Object, pods: list[Object]) -> Object:
    """Return the EndpointSlice of a Service: one is enough for the pods of one machine."""
    groups = _by_ports(service, pods)
    ports = max(groups, key=lambda one: len(groups[one]), default=())
    own = service["metadata"]
    labels = {
        **(own.get("labels") or {}),
        "kubernetes.io/service-name": own["name"],
        "endpointslice.kubernetes.io/managed-by": _MANAGED_BY,
    }
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{own['name']}-local",
            "namespace": own["namespace"],
            "labels": labels,
            "ownerReferences": [owner_reference({"apiVersion": "v1", "kind": "Service", "metadata": own})],
        },
        "addressType": "IPv4",
        "ports": [_port(*port) for port in ports],
        "endpoints": [
            {
                "addresses": [pod["status"]["podIP"]],
                "conditions": {
                    "ready": is_serving(service, pod),
                    "serving": is_ready(pod),
                    "terminating": "deletionTimestamp" in pod["metadata"],
                },
                "nodeName": pod["spec"].get("nodeName", ""),
                "targetRef": _reference(pod),
            }
            for pod in groups.get(ports, ())
        ],
    }
