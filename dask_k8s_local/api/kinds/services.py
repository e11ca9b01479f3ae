"""Services: their defaults and the addresses and ports that they are given."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from dask_k8s_local.api import names
from dask_k8s_local.api.store import Store
from dask_k8s_local.api.strategy import Strategy
from dask_k8s_local.interfaces import Object

SERVICE_NETWORK = ipaddress.ip_network("127.96.0.0/12")
_NODE_PORTS = range(30000, 32768)


class ServiceStrategy(Strategy):
    """https://kubernetes.io/docs/concepts/services-networking/service/"""

    has_status = True
    returns_deleted = True
    valid_name = staticmethod(names.dns_1035_problem)

    def __init__(self, store: Store) -> None:
        self._services = store.collection("services")
        self._addresses: Iterator[ipaddress.IPv4Address | ipaddress.IPv6Address] = iter(
            SERVICE_NETWORK.hosts()
        )

    def default(self, body: Object) -> None:
        spec = body.setdefault("spec", {})
        kind = spec.setdefault("type", "ClusterIP")
        spec.setdefault("sessionAffinity", "None")
        for port in spec.get("ports") or ():
            port.setdefault("protocol", "TCP")
            port.setdefault("targetPort", port.get("port"))
        if kind == "ExternalName":
            return
        spec.setdefault("internalTrafficPolicy", "Cluster")
        spec.setdefault("ipFamilies", ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")
        if not spec.get("clusterIP"):
            spec["clusterIP"] = self._free_address()
        spec["clusterIPs"] = [spec["clusterIP"]]
        if kind in ("NodePort", "LoadBalancer"):
            spec.setdefault("externalTrafficPolicy", "Cluster")
            if kind == "LoadBalancer":
                spec.setdefault("allocateLoadBalancerNodePorts", True)
            for port in spec.get("ports") or ():
                if not port.get("nodePort"):
                    port["nodePort"] = self._free_node_port(body)

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
        if kind in ("NodePort", "LoadBalancer"):
            known = {
                (port.get("port"), port.get("protocol", "TCP")): port.get("nodePort")
                for port in before.get("ports") or ()
            }
            for port in spec.get("ports") or ():
                node_port = known.get((port.get("port"), port.get("protocol", "TCP")))
                if not port.get("nodePort") and node_port:
                    port["nodePort"] = node_port

    def _free_address(self) -> str:
        taken = {one.object["spec"].get("clusterIP") for one in self._services.revisions()}
        while True:
            address = str(next(self._addresses))
            if address not in taken:
                return address

    def _free_node_port(self, body: Object) -> int:
        taken = {
            port.get("nodePort")
            for service in (*(one.object for one in self._services.revisions()), body)
            for port in service["spec"].get("ports") or ()
        }
        return next(port for port in _NODE_PORTS if port not in taken)
