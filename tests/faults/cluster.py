"""An API server with a node that runs nothing, and one server that stands for all Dask schedulers."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import yaml
from aiohttp import web

from dask_k8s_local.api import ApiServer
from dask_k8s_local.interfaces import ApiError, Object
from dask_k8s_local.node import Node, ScaleNode, Scheduler
from dask_k8s_models import custom_resource_definitions, labels

CLUSTERS = "daskclusters.kubernetes.dask.org"
GROUPS = "daskworkergroups.kubernetes.dask.org"

CONTROLLER = "dask-k8s-controller"
"""The user agent of the controller's own requests."""


class DaskSchedulers:
    """What schedulers would say: every ready worker pod of a cluster is a worker, until it is retired.

    Attributes
    ----------
    busy, holding : set of str
        Names of pods that run tasks, or hold a result.
    idle_since : dict
        Since when a cluster's scheduler has been idle, by its namespace.
    retired, draining : set of str
        Addresses of workers that were retired, or get no more tasks.
    has_preload : bool
        Whether they have the controller's own routes.
    silent : set of str
        Namespaces whose schedulers take every question and never answer.
    """

    def __init__(self, server: ApiServer) -> None:
        self._client = server.client
        self._runner: web.AppRunner | None = None
        self.url = ""
        self.busy: set[str] = set()
        self.holding: set[str] = set()
        self.idle_since: dict[str, float] = {}
        self.retired: set[str] = set()
        self.draining: set[str] = set()
        self.has_preload = True
        self.silent: set[str] = set()

    async def start(self) -> None:
        application = web.Application()
        where = "/{namespace}/{pod}/{uid}"
        application.router.add_get(where + "/json/identity.json", self._identity)
        application.router.add_get(where + "/api/v1/check_idle", self._check_idle)
        application.router.add_post(where + "/api/v1/retire_workers", self._retire)
        application.router.add_get(where + "/dask-k8s/v1/workers", self._live)
        application.router.add_post(where + "/dask-k8s/v1/drain", self._drain)
        application.router.add_post(where + "/dask-k8s/v1/resume", self._resume)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _workers(self, request: web.Request) -> dict[str, Object]:
        if request.match_info["namespace"] in self.silent:
            await asyncio.Event().wait()
        cluster = request.match_info["pod"].partition("-scheduler")[0]
        pods = await self._client.list(
            "pods",
            request.match_info["namespace"],
            label_selector=f"{labels.CLUSTER_NAME}={cluster},{labels.COMPONENT}=worker",
        )
        return {
            f"tcp://{pod['status']['podIP']}:4000": pod
            for pod in pods
            if is_ready(pod) and "deletionTimestamp" not in pod["metadata"]
        }

    async def _identity(self, request: web.Request) -> web.Response:
        workers = {
            address: {
                "name": pod["metadata"]["name"],
                "status": "running",
                "metrics": {
                    "task_counts": {
                        "executing": int(pod["metadata"]["name"] in self.busy),
                        "memory": int(pod["metadata"]["name"] in self.holding),
                    },
                    "managed_bytes": int(pod["metadata"]["name"] in self.holding),
                },
            }
            for address, pod in (await self._workers(request)).items()
            if address not in self.retired
        }
        return web.json_response({"workers": workers})

    async def _live(self, request: web.Request) -> web.Response:
        self._check_preload()
        workers = {
            address: {
                "name": pod["metadata"]["name"],
                "status": "paused" if address in self.draining else "running",
                "processing": int(pod["metadata"]["name"] in self.busy),
                "keys": int(pod["metadata"]["name"] in self.holding),
                "nbytes": int(pod["metadata"]["name"] in self.holding),
                "draining": address in self.draining,
            }
            for address, pod in (await self._workers(request)).items()
            if address not in self.retired
        }
        return web.json_response({"workers": workers})

    async def _drain(self, request: web.Request) -> web.Response:
        self._check_preload()
        known = await self._workers(request)
        wanted = set((await request.json())["workers"]) & known.keys() - self.retired
        self.draining |= wanted
        tasks = {address: int(known[address]["metadata"]["name"] in self.busy) for address in wanted}
        return web.json_response(tasks)

    async def _resume(self, request: web.Request) -> web.Response:
        self._check_preload()
        self.draining -= set((await request.json())["workers"])
        return web.json_response({})

    def _check_preload(self) -> None:
        if not self.has_preload:
            raise web.HTTPNotFound

    async def _check_idle(self, request: web.Request) -> web.Response:
        return web.json_response({"idle_since": self.idle_since.get(request.match_info["namespace"])})

    async def _retire(self, request: web.Request) -> web.Response:
        wanted = set((await request.json())["workers"])
        known = (await self._workers(request)).keys() - self.retired
        self.retired |= wanted & known
        return web.json_response({address: {} for address in wanted & known})


class ScaleCluster:
    """An API server whose pods become ready without processes.

    Parameters
    ----------
    folder : Path
        For kubeconfig and logs.
    latency : float or pair of float
        How long pods take to become ready.
    """

    def __init__(self, folder: Path, latency: float | tuple[float, float] = 0.0) -> None:
        self.folder = folder
        self.server = ApiServer(port=0)
        self.node = ScaleNode(self.server.client, Node(name="scale"), latency=latency)
        self._binder = Scheduler(self.server.client)
        self.schedulers = DaskSchedulers(self.server)
        self.kubeconfig = folder / "kubeconfig"
        self.pods_seen: dict[str, set[str]] = defaultdict(set)
        self._numbers = itertools.count(1)

    async def __aenter__(self) -> Self:
        await self.server.start()
        await self._binder.start()
        await self.node.start()
        await self.schedulers.start()
        self.kubeconfig.write_text(yaml.safe_dump(self.server.kubeconfig()))
        for crd in custom_resource_definitions():
            await self.client.create("customresourcedefinitions.apiextensions.k8s.io", None, crd)
        self._watching = asyncio.create_task(self._watch_pods())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._watching.cancel()
        await asyncio.gather(self._watching, return_exceptions=True)
        await self.schedulers.stop()
        await self.node.stop()
        await self._binder.stop()
        await self.server.stop()

    @property
    def client(self) -> Any:
        return self.server.client

    @property
    def faults(self) -> Any:
        return self.server.faults

    async def namespace(self) -> str:
        """Make a namespace."""
        name = f"test-{next(self._numbers)}"
        await self.client.create("namespaces", None, {"metadata": {"name": name}})
        return name

    async def get(self, resource: str, namespace: str, name: str) -> Object | None:
        try:
            found: Object = await self.client.get(resource, namespace, name)
        except ApiError as error:
            if error.reason == "NotFound":
                return None
            raise
        return found

    async def pods(self, namespace: str) -> list[Object]:
        found: list[Object] = await self.client.list("pods", namespace)
        return found

    async def wait(
        self, holds: Callable[[], Any], what: str, limit: float = 30.0, every: float = 0.02
    ) -> None:
        """Wait until an asynchronous condition holds, of which so many seconds pass between looks."""
        end = time.monotonic() + limit
        while not await holds():
            if time.monotonic() > end:
                raise TimeoutError(what)
            await asyncio.sleep(every)

    async def describe(self, namespace: str) -> str:
        """Tell everything about a namespace, for the message of a failed test."""
        lines = []
        for resource in (CLUSTERS, GROUPS):
            found = await self.client.list(resource, namespace)
            lines += [json.dumps({item["metadata"]["name"]: item.get("status")}) for item in found]
        for pod in await self.pods(namespace):
            metadata = pod["metadata"]
            lines.append(
                f"{metadata['name']} {pod['status'].get('phase')} {metadata.get('deletionTimestamp')} "
                f"{metadata.get('annotations', {}).get(labels.RETIRING)}"
            )
        return "\n".join(lines)

    async def _watch_pods(self) -> None:
        async for event, pod in self.client.watch("pods"):
            if event == "ADDED":
                self.pods_seen[pod["metadata"]["namespace"]].add(pod["metadata"]["uid"])


def is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def condition(item: Object | None, name: str) -> str:
    """Return the status of a condition."""
    conditions = ((item or {}).get("status") or {}).get("conditions", [])
    return next((found["status"] for found in conditions if found["type"] == name), "")
