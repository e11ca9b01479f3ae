"""The way to a scheduler: a direct address, or forwarded ports that follow the scheduler's pod."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from dask_k8s_client import connect, raw
from dask_k8s_client.connect import Direct, Forward, Node, Ports
from dask_k8s_client.encryption import serves_https
from dask_k8s_client.errors import (
    ApiError,
    ForbiddenError,
    ResourceTimeoutError,
    UnreachableError,
    with_remedy,
)
from dask_k8s_client.forward import PortForward, Tunnel
from dask_k8s_client.observe import Observer
from dask_k8s_client.resources import NODES, PODS
from dask_k8s_client.startup import scheduler_is_ready
from dask_k8s_models import pods as pod_specs

HOLD = 60.0
"""Seconds that a new connection is held while there is no scheduler to forward it to."""
RETRY = 1.0
"""Seconds until a tunnel is tried again, if nothing happens before that."""


class Link:
    """Where the scheduler of one cluster can be reached from here.

    Make it with `Link.open`.

    Attributes
    ----------
    address : str
        Of the scheduler, for Dask.
    host : str
        Of the dashboard.
    dashboard_port : int or None
        None if the scheduler's Service has no port for it.
    prefix : str
        The path under which the scheduler serves its dashboard, empty if at the root.
    scheme : str
        How the dashboard is served, http or https.
    is_forwarded : bool
        Whether local ports lead there.
    """

    def __init__(self, observer: Observer) -> None:
        self.address = ""
        self.host = ""
        self.dashboard_port: int | None = None
        self.prefix = ""
        self.scheme = "http"
        self.is_forwarded = False
        self._observer = observer
        self._port = 0
        self._forwards: list[PortForward] = []
        self._first_tunnel: Tunnel | None = None

    @classmethod
    async def open(
        cls,
        observer: Observer,
        port_forward: bool | None,
        local_ports: tuple[int | None, int | None],
        limit: float,
    ) -> Link:
        """Find the way, and forward ports if it takes that.

        Parameters
        ----------
        observer : Observer
            Of a cluster whose scheduler and Service are ready.
        port_forward : bool, optional
            True always forwards, False never does, None decides.
        local_ports : tuple of int or None
            Local ports for the scheduler and the dashboard; None takes any that is free.
        limit : float
            Seconds for the first connection.

        Raises
        ------
        ResourceTimeoutError
            The scheduler's pod can't be reached.
        ForbiddenError
            We may not forward ports.
        OSError
            The local port is taken.
        """
        link = cls(observer)
        service = observer.now.service
        assert service is not None, "the Service was waited for"
        route = connect.route(service, in_cluster=observer.api.in_cluster, port_forward=port_forward)
        if isinstance(route, Node):
            route = await link._through_node(route)
        try:
            if isinstance(route, Direct):
                link._lead_to(route.host, route.ports)
            else:
                await link._forward(local_ports, limit)
        except BaseException:
            await link.close()
            raise
        return link

    async def close(self) -> None:
        """End the forwarding."""
        for forward in self._forwards:
            await forward.close()
        if self._first_tunnel is not None:
            await self._first_tunnel.close()

    def dashboard(self) -> str:
        """Return the dashboard's address, as ``distributed.dashboard.link`` says; empty if there is none."""
        from distributed.utils import format_dashboard_link  # The command line does without.

        if self.dashboard_port is None:
            return ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        text: str = format_dashboard_link(host, str(self.dashboard_port))  # type: ignore[no-untyped-call]
        if self.scheme == "https":
            text = text.replace("http://", "https://", 1)
        before, status, after = text.rpartition("/status")
        return f"{before}{self.prefix}{status}{after}" if status else text

    def _lead_to(self, host: str, ports: Ports) -> None:
        self.host = host
        self._port, self.dashboard_port = ports.comm, ports.dashboard
        self.renew()

    def renew(self) -> str:
        """Return the address, as the scheduler's pod of this moment speaks: it may have turned to TLS."""
        protocol = "tcp"
        if (pod := self._observer.now.scheduler) is not None:
            annotations = pod["metadata"].get("annotations")
            protocol = pod_specs.scheduler_protocol(pod["spec"], annotations)
            self.prefix = pod_specs.dashboard_prefix(pod["spec"], annotations)
            self.scheme = "https" if serves_https(pod) else "http"
        self.address = connect.address(self.host, self._port, protocol)
        return self.address

    async def _through_node(self, route: Node) -> Direct | Forward:
        try:
            nodes = (await raw.get(self._observer.api, NODES.path(), limit="100"))["items"]
        except ForbiddenError:
            return Forward()
        host = connect.node_host(nodes)
        if host and await connect.answers(host, route.port.comm):
            return Direct(host, route.port)
        return Forward()

    async def _forward(self, local_ports: tuple[int | None, int | None], limit: float) -> None:
        self.is_forwarded = True
        comm = PortForward(self._comm_tunnel, local_ports[0] or 0)
        self._forwards.append(comm)
        dashboard = PortForward(lambda: self._tunnel("dashboard"), local_ports[1] or 0)
        self._lead_to("localhost", Ports(await comm.start(), None))
        if self._ports().dashboard is not None:
            self._forwards.append(dashboard)
            self.dashboard_port = await dashboard.start()
        # Whoever connects only sees a closed connection; so ask before whether we may forward at all.
        try:
            self._first_tunnel = await self._tunnel("comm", limit)
        except ForbiddenError as error:
            raise with_remedy(error) from error

    async def _comm_tunnel(self) -> Tunnel:
        tunnel, self._first_tunnel = self._first_tunnel, None
        if tunnel is not None and tunnel.is_fresh:
            return tunnel
        if tunnel is not None:
            await tunnel.close()
        return await self._tunnel("comm")

    def _ports(self) -> Ports:
        now = self._observer.now
        if now.service is None or now.scheduler is None:
            raise ResourceTimeoutError(f"The scheduler of {now.name} has no pod or no Service.")
        return connect.pod_ports(now.service, now.scheduler)

    async def _tunnel(self, port: str, limit: float = HOLD) -> Tunnel:
        """Open a tunnel to the scheduler's pod of this moment, after a new one has started if need be."""
        problem: Exception | None = None
        try:
            async with asyncio.timeout(limit):
                while True:
                    pulse = self._observer.pulse
                    try:
                        return await self._tunnel_now(port)
                    except ForbiddenError:
                        raise
                    except (ApiError, UnreachableError) as error:
                        problem = error
                    # Most likely the pod has just died and the watch tells so in a moment.
                    with suppress(TimeoutError):
                        await asyncio.wait_for(pulse.wait(), RETRY)
        except TimeoutError as error:
            reason = f": {problem}" if problem else ", since its pod isn't ready."
            raise ResourceTimeoutError(
                f"No port of the scheduler could be forwarded within {limit:g} seconds{reason}"
            ) from error

    async def _tunnel_now(self, port: str) -> Tunnel:
        now = await self._observer.until(scheduler_is_ready)
        assert now.scheduler is not None
        path = PODS.path(self._observer.namespace, now.scheduler["metadata"]["name"], "portforward")
        number = getattr(self._ports(), port)
        return await Tunnel.open(self._observer.api, path, number)
