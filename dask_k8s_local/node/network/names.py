"""What pods resolve: the names of services, and where their addresses lead.

Pods read it from a file that is replaced whenever a Service or its endpoints change, see
``site/sitecustomize.py``.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable
from pathlib import Path

from dask_k8s_local.interfaces import Api, EventType, Object
from dask_k8s_local.node.background import Background, follow
from dask_k8s_local.node.network.node_ports import Endpoint, NodePorts

Key = tuple[str, str]


class NameTable:
    """Follows Services and EndpointSlices, and keeps the pods' file of names.

    The file holds ``names``, addresses by ``{service}.{namespace}``, and ``routes``, endpoints by
    ``{address}:{port}``.
    """

    def __init__(self, api: Api, path: Path, node_address: str) -> None:
        self.path = path
        self._api = api
        self._node_address = node_address
        self._node_ports = NodePorts(node_address)
        self._services: dict[Key, Object] = {}
        self._slices: dict[Key, dict[str, Object]] = {}
        self._changed = asyncio.Event()
        self._background = Background()

    async def start(self) -> None:
        self._write()
        slices = "endpointslices.discovery.k8s.io"
        self._background.spawn(
            follow(lambda: self._api.watch("services"), self._service_changed), "names: services"
        )
        self._background.spawn(
            follow(lambda: self._api.watch(slices), self._slice_changed), "names: endpoints"
        )
        self._background.spawn(self._keep(), "names")

    async def stop(self) -> None:
        await self._background.stop()
        await self._node_ports.stop()

    def services(self, namespace: str) -> list[Object]:
        return [service for (of, _), service in sorted(self._services.items()) if of == namespace]

    def _service_changed(self, event: EventType, service: Object) -> None:
        key = _key(service)
        if event == "DELETED":
            self._services.pop(key, None)
        else:
            self._services[key] = service
        self._changed.set()

    def _slice_changed(self, event: EventType, slice_: Object) -> None:
        namespace, name = _key(slice_)
        service = (slice_["metadata"].get("labels") or {}).get("kubernetes.io/service-name")
        if service is None:
            return
        slices = self._slices.setdefault((namespace, service), {})
        if event != "DELETED":
            slices[name] = slice_
        elif slices.pop(name, None) is not None and not slices:
            del self._slices[namespace, service]
        self._changed.set()

    async def _keep(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            node_ports = self._write()
            await self._node_ports.serve(node_ports)

    def _write(self) -> dict[int, list[Endpoint]]:
        """Write the file; return the endpoints by node port."""
        names: dict[str, list[str]] = {}
        routes: dict[str, list[Endpoint]] = {}
        node_ports: dict[int, list[Endpoint]] = {}
        for key, service in self._services.items():
            slices = list(self._slices.get(key, {}).values())
            names |= _names(service, slices)
            for port in service["spec"].get("ports") or []:
                endpoints = list(endpoints_of_port(slices, port.get("name") or ""))
                cluster_ip = service["spec"].get("clusterIP")
                if cluster_ip and cluster_ip != "None":
                    routes[f"{cluster_ip}:{port['port']}"] = endpoints
                if port.get("nodePort"):
                    routes[f"{self._node_address}:{port['nodePort']}"] = endpoints
                    node_ports[port["nodePort"]] = endpoints
        temporary = self.path.with_suffix(".new")
        temporary.write_text(json.dumps({"names": names, "routes": routes}))
        os.replace(temporary, self.path)
        return node_ports


def _key(body: Object) -> Key:
    return body["metadata"]["namespace"], body["metadata"]["name"]


def _names(service: Object, slices: list[Object]) -> dict[str, list[str]]:
    namespace, name = _key(service)
    qualified = f"{name}.{namespace}"
    spec = service["spec"]
    if spec.get("type") == "ExternalName":
        return {qualified: [spec["externalName"]]}
    endpoints = [endpoint for slice_ in slices for endpoint in _ready(slice_)]
    # A pod with a host name and a subdomain has a name of its own.
    names = {
        f"{endpoint['hostname']}.{qualified}": [endpoint["addresses"][0]]
        for endpoint in endpoints
        if endpoint.get("hostname")
    }
    cluster_ip = spec.get("clusterIP")
    if cluster_ip and cluster_ip != "None":
        names[qualified] = [cluster_ip]
    else:
        names[qualified] = [address for endpoint in endpoints for address in endpoint["addresses"]]
    return names


def endpoints_of_port(slices: list[Object], port_name: str) -> Iterable[Endpoint]:
    """Yield the ready endpoints behind a Service's port."""
    for slice_ in slices:
        for port in slice_.get("ports") or []:
            if (port.get("name") or "") == port_name:
                for endpoint in _ready(slice_):
                    yield endpoint["addresses"][0], port["port"]


def _ready(slice_: Object) -> list[Object]:
    return [
        endpoint
        for endpoint in slice_.get("endpoints") or []
        if (endpoint.get("conditions") or {}).get("ready") is not False and endpoint.get("addresses")
    ]
