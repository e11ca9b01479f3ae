"""What Dask's schedulers would say of pods that run nothing, told by one server that stands for them all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from typing import Any, Self

from aiohttp import web

from tests.harness.background import Background
from tests.harness.kube import Kube, Object
from tests.harness.stand_in import StandIn

WORKERS = "dask.org/component=worker"
PRELOADED = "/dask-k8s/v1"


class DaskSchedulers:
    """Answers as distributed would: every ready worker pod of a cluster is a worker, until it is retired.

    A request's path begins with the namespace and the name of a scheduler's pod.

    Attributes
    ----------
    url : str
        Where it listens.
    idle : set of str
        Namespaces whose schedulers have had nothing to do for long.
    demand : dict
        How many workers the schedulers of a namespace could use; without an entry they don't say.
    silent : set of str
        Namespaces whose schedulers take every question and never answer.
    """

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._background = Background("schedulers")
        self._server = StandIn(self._answer)
        self._retired: set[str] = set()
        self._draining: set[str] = set()
        self.idle: set[str] = set()
        self.demand: dict[str, int] = {}
        self.silent: set[str] = set()

    def __enter__(self) -> Self:
        self._background.__enter__()
        self.url = self._background.run(self._server.__aenter__()).url
        return self

    def __exit__(self, *_: object) -> None:
        self._background.run(self._server.__aexit__())
        self._background.__exit__()

    async def _answer(self, request: web.Request) -> Any:
        _, namespace, pod, path = request.path.split("/", 3)
        if namespace in self.silent:
            await asyncio.Event().wait()
        match request.method, f"/{path}":
            case "GET", "/json/identity.json":
                return {"workers": dict(self._identity(await self._workers(namespace, pod)))}
            case "GET", "/dask-k8s/v1/workers":
                return {"workers": dict(self._live(await self._workers(namespace, pod)))}
            case "GET", "/api/v1/check_idle":
                return {"idle_since": time.time() - 3600 if namespace in self.idle else None}
            case "GET", "/dask-k8s/v1/demand" | "/api/v1/adaptive_target":
                if namespace not in self.demand:
                    raise web.HTTPServiceUnavailable
                return {"workers": self.demand[namespace], "needs": []}
        chosen = set((await request.json())["workers"]) & (await self._workers(namespace, pod)).keys()
        match f"/{path}":
            case "/dask-k8s/v1/drain":
                self._draining |= chosen
                return dict.fromkeys(chosen, 0)
            case "/dask-k8s/v1/resume":
                self._draining -= chosen
                return {}
            case "/api/v1/retire_workers":
                self._retired |= chosen
                return {address: {} for address in chosen}
        raise web.HTTPNotFound

    async def _workers(self, namespace: str, scheduler: str) -> Mapping[str, Object]:
        cluster = scheduler.partition("-scheduler")[0]
        selector = f"{WORKERS},dask.org/cluster-name={cluster}"
        pods = await asyncio.to_thread(self._kube.list, "pods", namespace, selector)
        addresses = {f"tcp://{pod['status']['podIP']}:4000": pod for pod in pods if _is_ready(pod)}
        return {address: pod for address, pod in addresses.items() if address not in self._retired}

    def _identity(self, workers: Mapping[str, Object]) -> Iterator[tuple[str, Object]]:
        for address, pod in workers.items():
            metrics = {"task_counts": {"executing": 0, "memory": 0}, "managed_bytes": 0}
            yield address, {"name": pod["metadata"]["name"], "status": "running", "metrics": metrics}

    def _live(self, workers: Mapping[str, Object]) -> Iterator[tuple[str, Object]]:
        for address, pod in workers.items():
            is_draining = address in self._draining
            yield (
                address,
                {
                    "name": pod["metadata"]["name"],
                    "status": "paused" if is_draining else "running",
                    "processing": 0,
                    "keys": 0,
                    "nbytes": 0,
                    "draining": is_draining,
                },
            )


def _is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return "deletionTimestamp" not in pod["metadata"] and any(
        condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions
    )
