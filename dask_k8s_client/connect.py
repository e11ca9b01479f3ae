"""How to reach a scheduler: decided at once from its Service and from where we are.

Names are never tried for seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from dask_k8s_client.errors import ResourceTimeoutError
from dask_k8s_models import names
from dask_k8s_models.service import comm_port, dashboard_port, target_port

Json = dict[str, Any]

PROBE_SECONDS = 2.0
"""How long a node's port may take to answer before ports are forwarded; firewalls often swallow them."""


@dataclass(frozen=True)
class Ports:
    """The ports of a scheduler's Service; as numbers of the Service, or of the pod for forwarding.

    Attributes
    ----------
    comm : int
        Where clients and workers connect.
    dashboard : int or None
        HTTP; None if the Service has no such port.
    """

    comm: int
    dashboard: int | None


@dataclass(frozen=True)
class Direct:
    """Connect to a host that can be reached from here."""

    host: str
    ports: Ports


@dataclass(frozen=True)
class Node:
    """Connect to a port that every node listens on, if it answers; else forward."""

    port: Ports


@dataclass(frozen=True)
class Forward:
    """Forward local ports through the API server to the scheduler's pod."""


Route = Direct | Node | Forward


def route(service: Json, *, in_cluster: bool, port_forward: bool | None) -> Route:
    """Decide how to reach a scheduler.

    Parameters
    ----------
    service : dict
        The scheduler's Service.
    in_cluster : bool
        Whether we run in a pod.
    port_forward : bool, optional
        What the user wants: True always forwards, False never does, None decides.
    """
    if port_forward:
        return Forward()
    kind = service["spec"].get("type") or "ClusterIP"
    metadata = service["metadata"]
    if in_cluster:
        return Direct(f"{metadata['name']}.{metadata['namespace']}.svc", service_ports(service))
    if kind == "LoadBalancer":
        ingress = service["status"]["loadBalancer"]["ingress"][0]
        return Direct(ingress.get("hostname") or ingress["ip"], service_ports(service))
    if kind == "NodePort" and (node_ports := service_ports(service, "nodePort")).comm:
        return Node(node_ports)
    if port_forward is False:
        return Direct(f"{metadata['name']}.{metadata['namespace']}", service_ports(service))
    return Forward()


def service_ports(service: Json, key: str = "port") -> Ports:
    """Find the Service's ports: by name, else by number, else the only one.

    Parameters
    ----------
    service : dict
        The scheduler's Service.
    key : str
        ``port`` or ``nodePort``.
    """
    comm, dashboard = _comm_port(service), dashboard_port(service["spec"])
    return Ports(int(comm.get(key) or 0), int((dashboard or {}).get(key) or 0) or None)


def pod_ports(service: Json, pod: Json) -> Ports:
    """Resolve the Service's target ports to the pod's own: the API server forwards to those."""
    dashboard = dashboard_port(service["spec"])
    return Ports(_target(_comm_port(service), pod), _target(dashboard, pod) if dashboard else None)


def _comm_port(service: Json) -> Mapping[str, Any]:
    found = comm_port(service["spec"])
    if found is None:
        raise ResourceTimeoutError(
            f"The Service {service['metadata']['name']} has no port called tcp-comm and none with the number "
            f"{names.SCHEDULER_PORT}; name the scheduler's port tcp-comm."
        )
    return found


def _target(port: Mapping[str, Any], pod: Json) -> int:
    found = target_port(port, pod["spec"])
    if found is None:
        raise ResourceTimeoutError(
            f"The scheduler's Service has the target port {port.get('targetPort')!r}, "
            f"but no container of the pod {pod['metadata']['name']} has a port of that name."
        )
    return found


def node_host(nodes: list[Json]) -> str | None:
    """Choose the address of a node: an external one, else an internal one."""
    addresses = [address for node in nodes for address in (node.get("status") or {}).get("addresses") or []]
    for kind in ("ExternalIP", "InternalIP", "Hostname"):
        for address in addresses:
            if address.get("type") == kind:
                return str(address["address"])
    return None


async def answers(host: str, port: int, limit: float = PROBE_SECONDS) -> bool:
    """Whether something accepts connections there."""
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(limit):
            _, writer = await asyncio.open_connection(host, port)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            return True
    return False


def address(host: str, port: int, protocol: str = "tcp") -> str:
    """Write an address as Dask does, IPv6 in brackets."""
    return f"{protocol}://[{host}]:{port}" if ":" in host else f"{protocol}://{host}:{port}"
