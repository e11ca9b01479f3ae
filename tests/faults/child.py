"""The controller as a process forked from one in which everything is imported: quick to start and to kill."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
from dataclasses import dataclass
from typing import Any, Self

import aiohttp
import kopf

from dask_k8s_controller.kubernetes.connection import log_in
from dask_k8s_controller.operator import Operator
from dask_k8s_controller.scheduler.client import SchedulerClient
from dask_k8s_controller.scheduler.endpoint import Endpoint
from dask_k8s_controller.settings import Backoff, LeaderElection, Limits, Patience, Policy, Settings
from dask_k8s_controller.watching.handlers import register_handlers
from dask_k8s_models import labels

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.faults.child"])

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
        idle_poll=0.05,
    ),
    leader_election=LeaderElection(),
)
"""Settings whose waits suit pods that are ready within milliseconds."""


class SchedulersAt(SchedulerClient):
    """Reaches all schedulers at one server of a test's, whatever their Service."""

    base = ""

    async def _way_to(self, endpoint: Endpoint) -> tuple[aiohttp.ClientSession, str]:
        return (
            self._anonymous_session(),
            f"{self.base}/{endpoint.namespace}/{endpoint.pod}/{endpoint.uid}",
        )


@dataclass(frozen=True)
class Orders:
    """What a child shall do.

    Parameters
    ----------
    kubeconfig : str
        The API server.
    namespaces : tuple of str
        What it watches.
    schedulers : str
        URL of the server that stands for all schedulers.
    settings : Settings
        How hasty it is.
    log : str
        File for its log.
    """

    kubeconfig: str
    namespaces: tuple[str, ...]
    schedulers: str
    settings: Settings = HASTY
    log: str = os.devnull


def run(orders: Orders) -> None:
    """Run a controller until it is told to stop."""
    os.environ["KUBECONFIG"] = orders.kubeconfig
    logging.basicConfig(filename=orders.log, level=logging.INFO, force=True)
    asyncio.run(_run(orders))


async def _run(orders: Orders) -> None:
    def make() -> Operator:
        # Credentials are only needed to learn that the schedulers are elsewhere.
        schedulers = SchedulersAt(Operator(orders.settings).api, orders.settings.patience)
        schedulers.base = orders.schedulers
        return Operator(orders.settings, schedulers=schedulers)

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


def create_pods(kubeconfig: str, namespace: str, count: int, at_once: int) -> None:
    """Create pods by a plain loop, to compare with."""
    os.environ["KUBECONFIG"] = kubeconfig
    asyncio.run(_create_pods(namespace, count, at_once))


async def _create_pods(namespace: str, count: int, at_once: int) -> None:
    connection = await log_in()
    slots = asyncio.Semaphore(at_once)

    async def create(number: int) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"bare-{number}", "labels": {labels.CLUSTER_NAME: "bare"}},
            "spec": {"containers": [{"name": "worker", "image": "dask:1"}]},
        }
        url = f"{connection.server}/api/v1/namespaces/{namespace}/pods"
        async with slots, connection.session.post(url, json=body) as response:
            assert response.status == 201
            await response.read()

    await asyncio.gather(*(create(number) for number in range(count)))
    await connection.session.close()


class Controller:
    """A controller's process."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self._process: Any = None

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.end(signal.SIGTERM)

    def start(self) -> None:
        """Start it; it takes a moment."""
        self._process = CONTEXT.Process(target=run, args=(self.orders,), daemon=True)
        self._process.start()

    def kill(self) -> None:
        """End it at once, without any chance to clean up."""
        self._process.kill()

    async def end(self, number: signal.Signals) -> int:
        """End it by a signal and wait; return its exit code."""
        if self._process is None:
            return 0
        if self._process.is_alive():
            os.kill(self._process.pid, number)
        await asyncio.to_thread(self._process.join, 15)
        if self._process.exitcode is None:
            self._process.kill()
            raise TimeoutError("the controller does not end")
        code = int(self._process.exitcode)
        self._process.close()
        self._process = None
        return code
