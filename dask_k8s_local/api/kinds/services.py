"""Services: their defaults and the addresses and ports that they are given."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence

from dask_k8s_local.api import errors
from dask_k8s_local.api.errors import Cause
from dask_k8s_local.api.kinds.pod_validation import PORT_RANGE, port_name_problems
from dask_k8s_local.api.kinds.strategy import Strategy
from dask_k8s_local.api.meta import names
from dask_k8s_local.api.storage.store import Store
from dask_k8s_local.interfaces import Object

SERVICE_NETWORK = ipaddress.IPv4Network("127.96.0.0/12")
NODE_PORTS = range(30000, 32768)
_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_WITH_NODE_PORTS = ("NodePort", "LoadBalancer")


class ServiceStrategy(Strategy):
    """https://kubernetes.io/docs/concepts/services-networking/service/"""

    has_status = True
    returns_deleted = True
    valid_name = staticmethod(names.dns_1035_problem)

    def __init__(self, store: Store) -> None:
        self._services = store.collection("services")
        self._addresses = SERVICE_NETWORK.hosts()

    def default(self, body: Object) -> None:
        spec = body.setdefault("spec", {})
        kind = spec.setdefault("type", "ClusterIP")
        spec.setdefault("sessionAffinity", "None")
        if spec["sessionAffinity"] == "ClientIP":
            spec.setdefault("sessionAffinityConfig", {"clientIP": {"timeoutSeconds": 10800}})
        for port in spec.get("ports") or ():
            port.setdefault("protocol", "TCP")
            if "port" in port:
                port.setdefault("targetPort", port["port"])
        if kind == "ExternalName":
            return
        spec.setdefault("internalTrafficPolicy", "Cluster")
        spec.setdefault("ipFamilies", ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")
        if kind in _WITH_NODE_PORTS:
            spec.setdefault("externalTrafficPolicy", "Cluster")
        if kind == "LoadBalancer":
            spec.setdefault("allocateLoadBalancerNodePorts", True)

    def prepare_for_create(self, body: Object) -> None:
        body["status"] = {"loadBalancer": {}}

    def prepare_for_update(self, new: Object, old: Object) -> None:
        super().prepare_for_update(new, old)
        spec, before = new.setdefault("spec", {}), old["spec"]
        kind = spec.get("type", "ClusterIP")
        if kind != "ExternalName":
            for name in ("clusterIP", "clusterIPs"):
                if not spec.get(name) and before.get(name):
                    spec[name] = before[name]
        if kind in _WITH_NODE_PORTS:
            known = {_port_key(port): port.get("nodePort") for port in before.get("ports") or ()}
            for port in spec.get("ports") or ():
                if not port.get("nodePort") and known.get(_port_key(port)):
                    port["nodePort"] = known[_port_key(port)]
        elif before.get("type") in _WITH_NODE_PORTS:
            for port in spec.get("ports") or ():
                port.pop("nodePort", None)

    def allocate(self, body: Object) -> None:
        spec = body["spec"]
        if spec["type"] == "ExternalName":
            return
        if not spec.get("clusterIP"):
            spec["clusterIP"] = (spec.get("clusterIPs") or [self._free_address()])[0]
        spec["clusterIPs"] = [spec["clusterIP"]]
        if spec["type"] in _WITH_NODE_PORTS and spec.get("allocateLoadBalancerNodePorts", True):
            for port in spec.get("ports") or ():
                if not port.get("nodePort"):
                    port["nodePort"] = self._free_node_port(body)

    def validate(self, body: Object) -> Sequence[Cause]:
        return list(self._problems(body))

    def _problems(self, body: Object) -> Iterator[Cause]:
        spec = body["spec"]
        kind, ports = spec["type"], spec.get("ports") or []
        if kind not in _TYPES:
            yield errors.not_supported("spec.type", kind, _TYPES)
        if kind == "ExternalName" and not spec.get("externalName"):
            yield errors.required("spec.externalName")
        if not ports and spec.get("clusterIP") != "None" and kind != "ExternalName":
            yield errors.required("spec.ports")
        if spec["sessionAffinity"] not in ("ClientIP", "None"):
            yield errors.not_supported("spec.sessionAffinity", spec["sessionAffinity"], ("ClientIP", "None"))
        yield from _port_problems(ports)
        for key, value in (spec.get("selector") or {}).items():
            if problem := names.qualified_name_problem(key):
                yield errors.invalid_value("spec.selector", key, problem)
            if problem := names.label_value_problem(value):
                yield errors.invalid_value("spec.selector", value, problem)
        yield from self._address_problems(body)

    def _address_problems(self, body: Object) -> Iterator[Cause]:
        spec = body["spec"]
        others = [
            one.object
            for one in self._services.revisions()
            if one.object["metadata"]["uid"] != body["metadata"].get("uid")
        ]
        address = spec.get("clusterIP")
        if address and address != "None":
            shown = f'[]string{{"{address}"}}'
            cause = f"Invalid value: {shown}: failed to allocate IP {address}: "
            if not _is_in_network(address):
                detail = f"the provided IP ({address}) is not in the valid range. "
                detail += f"The range of valid IPs is {SERVICE_NETWORK}"
                yield Cause("FieldValueInvalid", "spec.clusterIPs", cause + detail)
            elif any(one["spec"].get("clusterIP") == address for one in others):
                yield Cause(
                    "FieldValueInvalid", "spec.clusterIPs", f"{cause}provided IP is already allocated"
                )
        taken = {port.get("nodePort") for one in others for port in one["spec"].get("ports") or ()}
        for index, port in enumerate(spec.get("ports") or ()):
            number, place = port.get("nodePort"), f"spec.ports[{index}].nodePort"
            if not number:
                continue
            if spec["type"] not in _WITH_NODE_PORTS:
                yield errors.forbidden_field(place, "may not be used when `type` is 'ClusterIP'")
            elif number not in NODE_PORTS:
                detail = "provided port is not in the valid range. "
                detail += f"The range of valid ports is {NODE_PORTS.start}-{NODE_PORTS.stop - 1}"
                yield errors.invalid_value(place, number, detail)
            elif number in taken:
                yield errors.invalid_value(place, number, "provided port is already allocated")

    def validate_update(self, new: Object, old: Object) -> Sequence[Cause]:
        before, now = old["spec"].get("clusterIP"), new["spec"].get("clusterIP")
        both_have_one = "ExternalName" not in (old["spec"].get("type"), new["spec"].get("type"))
        if before and both_have_one and now != before:
            told = f'Invalid value: []string{{"{now}"}}: may not change once set'
            return (Cause("FieldValueInvalid", "spec.clusterIPs[0]", told),)
        return ()

    def _free_address(self) -> str:
        taken = {one.object["spec"].get("clusterIP") for one in self._services.revisions()}
        while True:
            address = next(self._addresses, None)
            if address is None:
                self._addresses = SERVICE_NETWORK.hosts()
            elif str(address) not in taken:
                return str(address)

    def _free_node_port(self, body: Object) -> int:
        taken = {
            port.get("nodePort")
            for service in (*(one.object for one in self._services.revisions()), body)
            for port in service["spec"].get("ports") or ()
        }
        return next(port for port in NODE_PORTS if port not in taken)


def _port_key(port: Object) -> tuple[object, object]:
    return port.get("port"), port.get("protocol", "TCP")


def _is_in_network(address: str) -> bool:
    try:
        return ipaddress.IPv4Address(address) in SERVICE_NETWORK
    except ValueError:
        return False


def _port_problems(ports: list[Object]) -> Iterator[Cause]:
    seen_names: set[str] = set()
    seen_ports: set[tuple[object, object]] = set()
    for index, port in enumerate(ports):
        place = f"spec.ports[{index}]"
        name, number, target = port.get("name"), port.get("port"), port.get("targetPort")
        if not name and len(ports) > 1:
            yield errors.required(f"{place}.name")
        elif name:
            if problem := names.label_problem(name):
                yield errors.invalid_value(f"{place}.name", name, problem)
            if name in seen_names:
                yield errors.duplicate(f"{place}.name", name)
            seen_names.add(name)
        if number is not None and not 0 < number < 65536:
            yield errors.invalid_value(f"{place}.port", number, PORT_RANGE)
        if _port_key(port) in seen_ports:
            told = {"port": number, "protocol": port.get("protocol", "TCP")}
            yield errors.duplicate(place, told)
        seen_ports.add(_port_key(port))
        if port.get("protocol") not in ("TCP", "UDP", "SCTP"):
            yield errors.not_supported(f"{place}.protocol", port.get("protocol"), ("SCTP", "TCP", "UDP"))
        if isinstance(target, str):
            yield from port_name_problems(target, f"{place}.targetPort")
        elif target is not None and not 0 < target < 65536:
            yield errors.invalid_value(f"{place}.targetPort", target, PORT_RANGE)
