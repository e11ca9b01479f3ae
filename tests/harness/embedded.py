"""The controller in a thread of the tests: starts in a moment, waits little, asks scripted schedulers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import kopf
import yaml

from dask_k8s_controller.kubernetes.connection import Connection, connect
from dask_k8s_controller.kubernetes.resources import Key
from dask_k8s_controller.operator import Operator
from dask_k8s_controller.scheduler.answers import Worker
from dask_k8s_controller.scheduler.endpoint import Endpoint
from dask_k8s_controller.settings import Backoff, Limits, Policy, Settings
from dask_k8s_controller.watching.handlers import register_handlers
from dask_k8s_credentials import Credentials
from tests.harness.kube import Kube

HASTY = Settings(
    health_port=0,
    spacing=0.01,
    status_interval=0.05,
    stop_grace=0.0,
    backoff=Backoff(first=0.02, longest=0.3),
    limits=Limits(timeout=0.6, attempts=2, first_delay=0.02, longest_delay=0.1),
    policy=Policy(
        answer_age=1.0,
        scheduler_retry=0.2,
        drain_poll=0.1,
        heartbeat=0.1,
        retire_patience=0.5,
        refusal_memory=0.5,
        failure_delay=0.1,
        short_life=0.0,
        idle_poll=0.1,
    ),
)
"""All waits scaled down, so that hundreds of faults take minutes."""


@dataclass
class ScriptedSchedulers:
    """Schedulers that answer as distributed's would: every running worker pod is a worker, until retired.

    Attributes
    ----------
    idle : set of str
        Namespaces whose schedulers have nothing to do.
    retired : dict
        Addresses of the workers that were retired, by namespace.
    unreachable : set of str
        Namespaces whose schedulers don't answer.
    """

    kube: Kube
    idle: set[str] = field(default_factory=set)
    retired: dict[str, set[str]] = field(default_factory=dict)
    unreachable: set[str] = field(default_factory=set)
    calls: int = 0

    async def workers(self, endpoint: Endpoint) -> tuple[Worker, ...]:
        self._answers(endpoint)
        pods = await asyncio.to_thread(
            self.kube.list, "pods", endpoint.namespace, "dask.org/component=worker"
        )
        hosts = {pod["metadata"]["name"]: pod.get("status", {}).get("podIP") for pod in pods}
        workers = (
            Worker(f"tcp://{host}:1", host, name, executing=0, keys=0, nbytes=0, can_drain=True)
            for name, host in hosts.items()
            if host
        )
        gone = self.retired.get(endpoint.namespace, set())
        return tuple(worker for worker in workers if worker.address not in gone)

    async def idle_for(self, endpoint: Endpoint) -> float | None:
        self._answers(endpoint)
        return time.time() if endpoint.namespace in self.idle else None

    async def adaptive_target(self, endpoint: Endpoint) -> int:
        self._answers(endpoint)
        return 0

    async def drain(self, endpoint: Endpoint, addresses: Iterable[str]) -> Mapping[str, int]:
        self._answers(endpoint)
        return dict.fromkeys(addresses, 0)

    async def resume(self, endpoint: Endpoint, addresses: Iterable[str]) -> None:
        self._answers(endpoint)

    async def retire(self, endpoint: Endpoint, addresses: Iterable[str]) -> frozenset[str]:
        self._answers(endpoint)
        asked = frozenset(addresses)
        self.retired.setdefault(endpoint.namespace, set()).update(asked)
        return asked

    def forget(self, uid: str) -> None:
        """Nothing is remembered of a scheduler."""

    async def close(self) -> None:
        """Nothing is open."""

    def _answers(self, endpoint: Endpoint) -> None:
        from dask_k8s_controller.kubernetes.errors import Unreachable

        self.calls += 1
        if endpoint.namespace in self.unreachable:
            raise Unreachable(f"the scheduler {endpoint.pod} can't be reached: a test wants it so")


class _OperatorOf(Operator):
    """The controller, logged in where a proxy's kubeconfig says, whatever KUBECONFIG names."""

    def __init__(self, kubeconfig: Path, settings: Settings, schedulers: ScriptedSchedulers) -> None:
        super().__init__(settings, schedulers=schedulers)
        self.server = yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
        # Whoever is ended abruptly closes nothing.
        self.opened: list[Connection] = []

    async def log_in(self) -> Connection:
        connection = connect(Credentials(self.server))
        self.opened.append(connection)
        return connection


class EmbeddedController:
    """A controller that acts through an `ApiProxy`.

    Parameters
    ----------
    kubeconfig : Path
        The proxy's.
    schedulers : ScriptedSchedulers
        Whom it asks.
    settings : Settings, optional
        Its settings; hasty ones by default.
    """

    def __init__(self, kubeconfig: Path, schedulers: ScriptedSchedulers, settings: Settings = HASTY) -> None:
        self._kubeconfig = kubeconfig
        self._schedulers = schedulers
        self._settings = settings
        self._thread = threading.Thread(target=self._main, name="embedded-controller")
        self._has_begun = threading.Event()
        self._has_added = threading.Event()
        self.operator: _OperatorOf

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self.join()

    def start(self) -> None:
        self._thread.start()
        assert self._has_begun.wait(30)

    def end(self) -> None:
        """End it as abruptly as a process; hold its writes back before, if it is to change nothing more."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._may_end.set)

    def join(self) -> None:
        self._thread.join(30)
        assert not self._thread.is_alive(), "the controller's thread did not end"

    @property
    def is_idle(self) -> bool:
        """Whether no object has, or awaits, its turn."""
        return self.operator.queue.is_idle

    def rest(self, timeout: float = 30) -> None:
        """Give every cluster and group one more turn, and wait until all have had it."""
        self.loop.call_soon_threadsafe(self._add_all)
        deadline = time.monotonic() + timeout
        while not (self._has_added.is_set() and self.is_idle):
            assert time.monotonic() < deadline, "the controller comes to no rest"
            time.sleep(0.01)
        self._has_added.clear()

    def _add_all(self) -> None:
        for kind in ("DaskCluster", "DaskWorkerGroup"):
            for facts in self.operator.cache.store(kind):
                self.operator.queue.add(Key(kind, facts.meta.namespace, facts.meta.name))
        self._has_added.set()

    def _main(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._may_end = asyncio.Event()
        registry = kopf.OperatorRegistry()

        def make() -> Operator:
            self.operator = _OperatorOf(self._kubeconfig, self._settings, self._schedulers)
            return self.operator

        register_handlers(registry, make)
        settings = kopf.OperatorSettings()
        settings.queueing.exit_timeout = 0.1
        settings.networking.error_backoffs = (0.1,)
        ready = asyncio.Event()
        operator = kopf.operator(
            registry=registry, settings=settings, memo=kopf.Memo(), clusterwide=True, ready_flag=ready
        )
        running = asyncio.create_task(operator)
        await ready.wait()
        self._has_begun.set()
        await self._may_end.wait()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in others:
                task.cancel()
            await asyncio.wait(others, timeout=0.1)
        assert running.done()
        await self.operator.health.stop()
        for connection in self.operator.opened:
            await connection.session.close()
