"""What users do with jobs and autoscalers while requests fail and controllers die."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import dask.config
import kopf
import pytest

from dask_k8s_controller.kubernetes.errors import Unreachable
from dask_k8s_controller.operator import Operator
from dask_k8s_controller.scheduler.endpoint import Endpoint
from dask_k8s_controller.watching.handlers import register_handlers
from dask_k8s_local.api import Fault, Request
from dask_k8s_local.interfaces import ApiError, Object
from dask_k8s_models import labels
from dask_k8s_models.scalars import to_time
from tests.faults.child import CONTEXT, Controller, Orders, SchedulersAt
from tests.faults.cluster import CLUSTERS, CONTROLLER, GROUPS, ScaleCluster, is_ready

JOBS = "daskjobs.kubernetes.dask.org"
AUTOSCALERS = "daskautoscalers.kubernetes.dask.org"

HASTY_CONFIG = {
    "kubernetes.controller.job.retry-delay": 0.02,
    "kubernetes.controller.job.longest-retry-delay": 0.1,
    "kubernetes.controller.autoscaler.interval": 0.1,
    "kubernetes.controller.scheduler.retry": 0.1,
}

Step = Callable[[ScaleCluster, str], Awaitable[None]]
Check = Callable[[ScaleCluster, str], Awaitable[bool]]


class DemandingSchedulers(SchedulersAt):
    """Says what a file in the test's folder says."""

    folder = Path()

    async def adaptive_target(self, endpoint: Endpoint) -> int:
        try:
            return int(demand_file(self.folder, endpoint.namespace).read_text())
        except (OSError, ValueError) as error:
            raise Unreachable(str(error)) from error


def demand_file(folder: Path, namespace: str) -> Path:
    return folder / f"demand-{namespace}"


def run_hasty(orders: Orders) -> None:
    """Run a controller that waits for nothing long, until it is told to stop."""
    os.environ["KUBECONFIG"] = orders.kubeconfig
    logging.basicConfig(filename=orders.log, level=logging.INFO, force=True)
    dask.config.set(HASTY_CONFIG)
    asyncio.run(_run(orders))


async def _run(orders: Orders) -> None:
    def make() -> Operator:
        schedulers = DemandingSchedulers(Operator(orders.settings).api, orders.settings.patience)
        schedulers.base, schedulers.folder = orders.schedulers, Path(orders.kubeconfig).parent
        return Operator(orders.settings, schedulers=schedulers)

    registry = kopf.OperatorRegistry()
    register_handlers(registry, make)
    settings = kopf.OperatorSettings()
    settings.networking.error_backoffs = [0.05] * 20
    settings.watching.reconnect_backoff = 0.01
    namespaces = orders.namespaces
    await kopf.operator(
        registry=registry, settings=settings, namespaces=namespaces, clusterwide=not namespaces
    )


class HastyController(Controller):
    """Its process."""

    def start(self) -> None:
        self._process = CONTEXT.Process(target=run_hasty, args=(self.orders,), daemon=True)
        self._process.start()


class Runners:
    """Ends the pods of jobs as a test wants it: by namespace and name, ``Succeeded`` or ``Failed``."""

    def __init__(self, cluster: ScaleCluster) -> None:
        self._cluster = cluster
        self._ends: dict[str, dict[str, str]] = {}

    async def run(self) -> None:
        async for event, pod in self._cluster.client.watch("pods"):
            if event != "DELETED":
                await self._end(pod)

    async def end(self, namespace: str, **ends: str) -> None:
        """Have the pod of an attempt end, be it there or to come."""
        self._ends[namespace] = {name.replace("_", "-"): end for name, end in ends.items()}
        for pod in await self._cluster.pods(namespace):
            await self._end(pod)

    async def _end(self, pod: Object) -> None:
        metadata = pod["metadata"]
        end = self._ends.get(metadata["namespace"], {}).get(metadata["name"])
        if end is None or not is_ready(pod) or pod["status"]["phase"] != "Running":
            return
        code = 0 if end == "Succeeded" else 1
        ended = {
            "exitCode": code,
            "reason": "Error" if code else "Completed",
            "finishedAt": to_time(datetime.now(UTC)),
        }
        container = {"name": "job", "image": "dask:1", "imageID": "", "ready": False, "restartCount": 0}
        status = {
            "phase": end,
            "conditions": [{"type": "Ready", "status": "False"}],
            "containerStatuses": [{**container, "state": {"terminated": ended}}],
        }
        try:
            await self._cluster.client.patch(
                "pods", metadata["namespace"], metadata["name"], {"status": status}, "status"
            )
        except ApiError as error:
            if error.reason != "NotFound":
                raise


@dataclass(frozen=True)
class Flow:
    """Something that a user does.

    Parameters
    ----------
    name : str
        What it is called.
    prepare, is_prepared : callable
        Make what is there before, and tell when it is.
    step : callable
        What the user does.
    has_converged : callable
        Tell when all is as the user wants it.
    pods : int
        How many pods there have ever been in the end: one more means that something was made twice.
    """

    name: str
    prepare: Step
    is_prepared: Check
    step: Step
    has_converged: Check
    pods: int


FAULTS: dict[str, Callable[..., Fault]] = {
    "409": lambda cluster, **which: cluster.faults.fail(409, **which),
    "429": lambda cluster, **which: cluster.faults.fail(429, **which),
    "500": lambda cluster, **which: cluster.faults.fail(500, **which),
    "timeout before the effect": lambda cluster, **which: cluster.faults.hang(**which),
    "timeout after the effect": lambda cluster, **which: cluster.faults.hang(after_effect=True, **which),
    "connection broken": lambda cluster, **which: cluster.faults.break_connection(after_effect=True, **which),
}


class Trials:
    """Lets every request of flows fail in every way, and kills the controller after each."""

    def __init__(self, cluster: ScaleCluster) -> None:
        self.cluster = cluster

    async def requests(self, flow: Flow) -> int:
        """Count the requests that a flow takes when nothing fails."""
        namespace = await self._prepared(flow)
        before = len(self.cluster.faults.log)
        await flow.step(self.cluster, namespace)
        await self._converges(flow, namespace, "without any fault")
        return sum(concerns(namespace, request) for request in self.cluster.faults.log[before:])

    async def fails(self, flow: Flow, number: int, how: str) -> bool:
        """Let one request of a flow fail; return whether it was made at all."""
        namespace = await self._prepared(flow)
        struck = FAULTS[how](self.cluster, when=partial(concerns, namespace), nth=number)
        await flow.step(self.cluster, namespace)
        await self._converges(flow, namespace, f"request {number}: {how}")
        self.cluster.faults.remove(struck)
        await self.cluster.client.delete("namespaces", None, namespace)
        return struck.hits > 0

    async def kills(self, flow: Flow, number: int) -> bool:
        """Kill the controller after one request of a flow; return whether it came to that."""
        namespace = await self.cluster.namespace()
        async with self.controller(namespace) as controller:
            await flow.prepare(self.cluster, namespace)
            await self._wait(flow.is_prepared, namespace, f"{flow.name} is not prepared")

            async def strike(_: Any, handle: Any) -> Any:
                answer = await handle()
                controller.kill()
                return answer

            struck = self.cluster.faults._add(Fault(partial(changes, namespace), number, 1, strike))
            await flow.step(self.cluster, namespace)

            async def is_over(cluster: ScaleCluster, namespace: str) -> bool:
                return struck.hits > 0 or await flow.has_converged(cluster, namespace)

            await self._wait(is_over, namespace, f"{flow.name}: nothing happens")
            if struck.hits:
                await controller.end(9)  # type: ignore[arg-type]
                controller.start()
            await self._converges(flow, namespace, f"killed after request {number}")
            self.cluster.faults.remove(struck)
        return bool(struck.hits)

    def controller(self, *namespaces: str) -> HastyController:
        cluster = self.cluster
        log = str(cluster.folder / "-".join(("log", *namespaces)))
        return HastyController(Orders(str(cluster.kubeconfig), namespaces, cluster.schedulers.url, log=log))

    async def all_of(self, tries: list[Callable[[], Awaitable[bool]]], at_once: int = 8) -> int:
        """Try all, several at a time; return how many struck."""
        slots = asyncio.Semaphore(at_once)

        async def one(attempt: Callable[[], Awaitable[bool]]) -> bool:
            async with slots:
                return await attempt()

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(attempt)) for attempt in tries]
        return sum(task.result() for task in tasks)

    async def _prepared(self, flow: Flow) -> str:
        namespace = await self.cluster.namespace()
        await flow.prepare(self.cluster, namespace)
        await self._wait(flow.is_prepared, namespace, f"{flow.name} is not prepared")
        return namespace

    async def _converges(self, flow: Flow, namespace: str, under: str) -> None:
        await self._wait(flow.has_converged, namespace, f"{flow.name} does not converge, {under}")
        seen = len(self.cluster.pods_seen[namespace])
        assert seen == flow.pods, f"{flow.name}, {under}: {seen} pods were made instead of {flow.pods}"
        for resource in (JOBS, AUTOSCALERS):
            for item in await self.cluster.client.list(resource, namespace):
                assert "finalizers" not in item["metadata"]
                assert "annotations" not in item["metadata"]

    async def _wait(self, check: Check, namespace: str, what: str) -> None:
        try:
            await self.cluster.wait(lambda: check(self.cluster, namespace), "")
        except TimeoutError:
            items = [
                {item["metadata"]["name"]: item.get("status")}
                for resource in (JOBS, AUTOSCALERS, CLUSTERS)
                for item in await self.cluster.client.list(resource, namespace)
            ]
            pytest.fail(f"{what}:\n{items}\n{await self.cluster.describe(namespace)}")


def concerns(namespace: str, request: Request) -> bool:
    """Whether a request is one that the controller makes of its own accord."""
    return request.namespace == namespace and request.user_agent == CONTROLLER and request.verb != "watch"


def changes(namespace: str, request: Request) -> bool:
    """Whether it is none of the lists at the start, which leave nothing half done."""
    return concerns(namespace, request) and request.verb != "list"


async def components(cluster: ScaleCluster, namespace: str) -> list[str]:
    """What the pods are that are there to stay."""
    pods = await cluster.pods(namespace)
    if any("deletionTimestamp" in pod["metadata"] for pod in pods):
        return ["some are going"]
    return sorted(pod["metadata"]["labels"][labels.COMPONENT] for pod in pods)


async def is_settled_group(cluster: ScaleCluster, namespace: str, replicas: int) -> bool:
    """Whether the default group has exactly so many ready workers."""
    group = await cluster.get(GROUPS, namespace, "c-default")
    workers = await components(cluster, namespace)
    return (
        group is not None
        and group["spec"]["worker"]["replicas"] == replicas
        and group.get("status", {}).get("readyReplicas") == replicas
        and workers == ["scheduler", *["worker"] * replicas]
    )
