"""``/healthz``, which fails when the controller is stuck, and ``/metrics`` for Prometheus."""

from __future__ import annotations

import errno
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web

from dask_k8s_controller.kubernetes.errors import ControllerError
from dask_k8s_controller.runtime.metrics import Metrics
from dask_k8s_controller.runtime.queue import WorkQueue
from dask_k8s_controller.settings import DEFAULT_HEALTH_PORT, Settings

if TYPE_CHECKING:
    from dask_k8s_controller.watching.watches import Watches

logger = logging.getLogger(__name__)

LONGEST_WAIT = 120.0
LONGEST_RECONCILE = 600.0
LONGEST_FAILURE = 600.0


class PortTaken(ControllerError):
    """The port that was asked for is taken."""


@dataclass
class HealthServer:
    """Serves ``/healthz`` and ``/metrics``."""

    settings: Settings
    """Where to listen."""
    queue: WorkQueue
    """Whose reconciles must not get stuck."""
    metrics: Metrics
    watches: Watches
    """Whose lists and watches must not fail for ever."""
    port: int | None = field(default=None, init=False)
    _runner: web.AppRunner | None = field(default=None, init=False)

    def problem(self) -> str:
        """Say what is stuck; nothing if all is well.

        An event loop that is stuck answers nobody: then the probe's time limit tells. An API server that is
        out of reach for minutes is no reason: a restart of the controller would not bring it back.
        """
        if self.watches.failing_for > LONGEST_FAILURE:
            return f"lists or watches have been failing for {self.watches.failing_for:.0f} s"
        if self.queue.longest_reconcile > LONGEST_RECONCILE:
            return f"a reconcile has been under way for {self.queue.longest_reconcile:.0f} s"
        if self.queue.is_open and self.queue.longest_wait > LONGEST_WAIT:
            return f"an object has been waiting to be reconciled for {self.queue.longest_wait:.0f} s"
        return ""

    async def start(self, *, is_in_cluster: bool, taken_port: int | None = None) -> None:
        """Begin to listen, unless nobody asked for a port and the usual one is taken.

        Raises
        ------
        PortTaken
            If a port was asked for and is taken.
        """
        wanted = self.settings.health_port
        port = DEFAULT_HEALTH_PORT if wanted is None else wanted
        if wanted is None and port == taken_port:
            return
        host = self.settings.health_host or ("0.0.0.0" if is_in_cluster else "127.0.0.1")
        application = web.Application()
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/metrics", self._serve_metrics)
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        try:
            await site.start()
        except OSError as error:
            await self.stop()
            if error.errno != errno.EADDRINUSE or wanted is not None:
                raise PortTaken(
                    f"can't serve /healthz on {host}:{port}: {error.strerror}; "
                    "choose another kubernetes.controller.health-port"
                ) from error
            logger.warning("Port %s is taken: there is no /healthz and no /metrics.", port)
            return
        self.port = self._runner.addresses[0][1]
        logger.info("Serving /healthz and /metrics on %s:%s.", host, self.port)

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _healthz(self, _: web.Request) -> web.Response:
        problem = self.problem()
        return web.json_response({"healthy": not problem, "problem": problem}, status=503 if problem else 200)

    async def _serve_metrics(self, _: web.Request) -> web.Response:
        return web.Response(
            body=self.metrics.exposition(), headers={"Content-Type": self.metrics.content_type}
        )
