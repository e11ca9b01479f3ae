"""The controller with all its waits scaled down, as a process that is quick to start and to kill."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import kopf

from dask_k8s_controller.operator import Operator
from dask_k8s_controller.scheduler.client import SchedulerClient
from dask_k8s_controller.scheduler.endpoint import Endpoint
from dask_k8s_controller.settings import Backoff, Limits, Patience, Policy, Retry, Settings
from dask_k8s_controller.watching.handlers import register_handlers

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.harness.hasty"])

AGENT = "dask-k8s-controller"
"""The user agent of the controller's own requests."""

HASTY = Settings(
    health_port=0,
    spacing=0.01,
    status_interval=0.05,
    stop_grace=1.0,
    backoff=Backoff(first=0.02, longest=0.3),
    limits=Limits(timeout=0.6, attempts=2, first_delay=0.01, longest_delay=0.05),
    patience=Patience(answer=0.6, retire=2.0),
    policy=Policy(
        scheduler_retry=0.1,
        drain_poll=0.05,
        heartbeat=0.05,
        retire_patience=0.3,
        refusal_memory=0.3,
        short_life=0.0,
        failure_delay=0.1,
        idle_poll=0.05,
        demand_poll=0.1,
        retry=Retry(first=0.02, longest=0.1),
    ),
)
"""Settings whose waits suit pods that are ready within milliseconds: hundreds of faults take minutes."""


@dataclass(frozen=True)
class Orders:
    """What the process shall do.

    Parameters
    ----------
    kubeconfig : str
        The API server.
    schedulers : str
        URL of the server that stands for all schedulers.
    namespaces : tuple of str
        What it watches; all if it is empty.
    settings : Settings
        How hasty it is.
    log : str
        File for its log.
    before : callable, optional
        A function of a module, which is called before it begins.
    beside : callable, optional
        A function of a module, which is called with the operator and these orders when it begins.
    """

    kubeconfig: str
    schedulers: str
    namespaces: tuple[str, ...] = ()
    settings: Settings = HASTY
    log: str = os.devnull
    before: Callable[[], None] | None = None
    beside: Callable[[Operator, Orders], None] | None = None


class SchedulersAt(SchedulerClient):
    """Reaches all schedulers at one server, whatever the address of their pods."""

    base = ""

    @asynccontextmanager
    async def _way_to(self, endpoint: Endpoint) -> AsyncIterator[tuple[Callable[..., Any], str]]:
        yield self._anonymous_session().request, f"{self.base}/{endpoint.namespace}/{endpoint.pod}"


def run(orders: Orders) -> None:
    """Run a controller until it is told to stop."""
    os.environ["KUBECONFIG"] = orders.kubeconfig
    logging.basicConfig(filename=orders.log, level=logging.INFO, force=True)
    if orders.before is not None:
        orders.before()
    asyncio.run(_run(orders))


async def _run(orders: Orders) -> None:
    def make() -> Operator:
        schedulers = SchedulersAt(Operator(orders.settings).api, orders.settings.patience)
        schedulers.base = orders.schedulers
        operator = Operator(orders.settings, schedulers=schedulers)
        if orders.beside is not None:
            orders.beside(operator, orders)
        return operator

    registry = kopf.OperatorRegistry()
    register_handlers(registry, make)
    settings = kopf.OperatorSettings()
    settings.networking.error_backoffs = [0.05] * 20
    settings.watching.reconnect_backoff = 0.01
    await kopf.operator(
        registry=registry,
        settings=settings,
        namespaces=orders.namespaces,
        clusterwide=not orders.namespaces,
    )


class HastyController:
    """A controller's process, forked from one in which everything is imported."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self._process: Any = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end(signal.SIGTERM)

    def start(self) -> None:
        """Start it; it takes a moment."""
        with self._lock:
            self._process = CONTEXT.Process(target=run, args=(self.orders,), daemon=True)
            self._process.start()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self._process.pid, number)

    def end(self, number: signal.Signals = signal.SIGKILL) -> int:
        """End it by a signal and wait; return its exit code."""
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return 0
        if process.is_alive():
            os.kill(process.pid, number)
        process.join(15)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError("the controller does not end")
        code = int(process.exitcode)
        process.close()
        return code

    def replace(self) -> None:
        """Kill it, without any chance to clean up, and start another."""
        self.end()
        self.start()
