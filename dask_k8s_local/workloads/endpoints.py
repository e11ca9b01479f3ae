"""Endpoints and EndpointSlices: the addresses of the ready pods that a Service selects.

https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from dask_k8s_local.interfaces import Api, ApiError, Object
from dask_k8s_local.workloads.pods import is_ready
from dask_k8s_local.workloads.queue import Controller, Key, own_key, owner_reference

_SLICES = "endpointslices.discovery.k8s.io"
_MANAGED_BY = "endpointslice-controller.k8s.io"


class EndpointsController(Controller):
    """Keeps one Endpoints object and one EndpointSlice for every Service with a selector."""

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self._selectors: dict[Key, dict[str, str]] = {}
        self._labels: dict[Key, dict[str, str]] = {}

    def sources(self) -> Iterable[tuple[str, Callable[[Object], Iterable[Key]]]]:
        yield "services", self._service_changed
        yield "pods", self._pod_changed

    def _service_changed(self, service: Object) -> Iterable[Key]:
        (key,) = own_key(service)
        self._selectors[key] = service["spec"].get("selector") or {}
        yield key

    def _pod_changed(self, pod: Object) -> Iterable[Key]:
        """Yield the Services that select the pod, or did before its labels changed."""
        (key,) = own_key(pod)
        now = pod["metadata"].get("labels") or {}
        before = self._labels.get(key, now)
        self._labels[key] = now
        for service, selector in self._selectors.items():
            if service[0] == key[0] and selector:
                wanted = selector.items()
                if wanted <= now.items() or wanted <= before.items():
                    yield service

    async def reconcile(self, key: Key) -> float | None:
        namespace, name = key
        try:
            service = await self.api.get("services", namespace, name)
        except ApiError as error:
            if error.code != 404:
                raise
            self._selectors.pop(key, None)
            await self._delete("endpoints", namespace, name)
            for one in await self.api.list(
                _SLICES, namespace, label_selector=f"kubernetes.io/service-name={name}"
            ):
                await self._delete(_SLICES, namespace, one["metadata"]["name"])
            return None
        selector = service["spec"].get("selector")
        if not selector or service["spec"].get("type") == "ExternalName":
            return None
        text = ",".join(f"{label}={value}" for label, value in selector.items())
        pods = [
            pod
            for pod in await self.api.list("pods", namespace, label_selector=text)
            if (pod.get("status") or {}).get("podIP")
            and pod["status"].get("phase") not in ("Succeeded", "Failed")
        ]
        await self._write("endpoints", namespace, endpoints(service, pods))
        await self._write(_SLICES, namespace, endpoint_slice(service, pods))
        return None

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
