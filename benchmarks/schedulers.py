"""One HTTP server that answers for all schedulers, of idle workers, where pods run nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

from aiohttp import web

from benchmarks.following import Pods
from tests.harness.background import Background
from tests.harness.stand_in import StandIn


class Schedulers:
    """Every ready worker pod of a cluster is an idle worker, until it is retired.

    It answers dask-k8s' controller, which asks below ``/{namespace}/{pod}``, and dask-kubernetes', which asks
    at the name of a Service.

    Attributes
    ----------
    address : str
        Host and port.
    """

    def __init__(self, pods: Pods) -> None:
        self._pods = pods
        self._background = Background("schedulers")
        self._server = StandIn(self._answer)
        self._gone: set[str] = set()

    def __enter__(self) -> Self:
        self._background.__enter__()
        self.address = self._background.run(self._server.__aenter__()).url.removeprefix("http://")
        return self

    def __exit__(self, *_: object) -> None:
        self._background.run(self._server.__aexit__())
        self._background.__exit__()

    async def _answer(self, request: web.Request) -> Any:
        self._server.requests.clear()
        self._server.bodies.clear()
        service = request.host.partition(".")[0]
        if service.endswith("-scheduler"):
            scheduler, path = service, request.path
        else:
            _, _, scheduler, path = request.path.split("/", 3)
            path = f"/{path}"
        workers = dict(self._workers(scheduler.partition("-scheduler")[0]))
        match request.method, path:
            case "GET", "/dask-k8s/v1/workers":
                return {"workers": {address: _idle(name) for address, name in workers.items()}}
            case "GET", "/dask-k8s/v1/demand" | "/api/v1/adaptive_target":
                return {"workers": len(workers), "needs": []}
            case "GET", "/api/v1/check_idle":
                return {"idle_since": None}
            case "POST", "/dask-k8s/v1/drain":
                return dict.fromkeys(set((await request.json())["workers"]) & workers.keys(), 0)
            case "POST", "/dask-k8s/v1/resume":
                return {}
            case "POST", "/api/v1/retire_workers":
                asked = await request.json()
                chosen = asked["workers"] if "workers" in asked else [*workers][: asked["n"]]
                self._gone |= {*chosen}
                return {address: {"name": workers[address]} for address in chosen if address in workers}
        raise web.HTTPNotFound

    def _workers(self, cluster: str) -> Iterator[tuple[str, str]]:
        for pod in list(self._pods.of[cluster].values()):
            address = f"tcp://{pod['ip']}:4000"
            if pod["component"] == "worker" and pod["is_ready"] and address not in self._gone:
                yield address, pod["worker_name"]


def _idle(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "status": "running",
        "processing": 0,
        "keys": 0,
        "nbytes": 0,
        "draining": False,
    }
