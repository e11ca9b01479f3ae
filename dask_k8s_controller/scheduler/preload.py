"""Runs inside a user's scheduler: routes that tell who runs what right now, and give workers no more tasks.

distributed's own routes can retire a worker, but then the tasks that it runs are run again elsewhere; and
what they tell of workers is a heartbeat old. The controller hands the source of this module, behind that of
`scheduler.demand`, to the scheduler as a preload:
https://docs.dask.org/en/stable/customize-initialization.html. Where it isn't loaded, since a user has
configured other preloads, the controller does without. It has to suit any release of distributed.

A worker's pod that is evicted, drained or deleted by anybody asks by ``leave`` to have its results copied
before it ends: its preStop hook does, so no controller has to be there.

It also adds distributed's own routes by which workers are retired, where the configuration lacks them.
"""

import asyncio
import json
import time
from collections.abc import Iterable
from contextlib import suppress
from heapq import heapify, heapreplace
from itertools import islice, takewhile
from typing import Any

import dask.config
from distributed.core import Status
from distributed.http.utils import RequestHandler, get_handlers

from dask_k8s_controller.scheduler.demand import MOST_NEEDS, MOST_TASKS, Demand, amounts, is_bound

API = "distributed.http.scheduler.api"
ANYWHERE = "(?:/.*)?"  # Whatever the dashboard's prefix is.

FOR_A_NEWCOMER = 20.0  # Seconds that results wait for a worker that takes them over if none is said to come.
BEFORE_ANOTHER_COPY = 10.0  # Seconds that a worker has for fetching a result before another is asked, too.

draining: set[str] = set()
expected: list[float] = [0.0]  # When it was said last that workers are on their way.
copying: dict[Any, tuple[float, Any]] = {}  # When a result was to be copied, the oldest first, and by whom.
preloads: list[Any] = []
certificates: list[str] = []


class Workers(RequestHandler):
    def get(self) -> None:
        at_most = max(1, MOST_TASKS // max(1, len(self.server.workers)))
        workers = {
            worker.address: {
                "name": str(worker.name),
                "status": worker.status.name,
                "processing": len(worker.processing),
                "keys": len(worker.has_what),
                "nbytes": int(worker.nbytes),
                "draining": worker.address in draining,
                "resources": amounts(islice(worker.resources.items(), MOST_NEEDS)),
                "nthreads": worker.nthreads,
                "memory_limit": int(worker.memory_limit),
                "bound": sum(map(is_bound, islice(worker.has_what, at_most))),
            }
            for worker in self.server.workers.values()
        }
        self.write({"workers": workers})


class Drain(RequestHandler):
    def post(self) -> None:
        processing = {}
        for address in json.loads(self.request.body)["workers"]:
            worker = self.server.workers.get(address)
            if worker is not None:
                draining.add(address)
                if worker.status == Status.running:
                    self.server.handle_worker_status_change(Status.paused, worker, "drain")
                processing[address] = len(worker.processing)
        draining.intersection_update(self.server.workers)
        self.write(processing)


class Resume(RequestHandler):
    def post(self) -> None:
        for address in draining.intersection(json.loads(self.request.body)["workers"]):
            draining.discard(address)
            worker = self.server.workers.get(address)
            if worker is not None:
                # A retirement that was given up has told the worker itself to pause.
                change = {"op": "worker-status-change", "status": "running", "stimulus_id": "resume"}
                self.server.stream_comms[address].send(change)
                self.server.handle_worker_status_change(Status.running, worker, "resume")
        self.write({})


class Certificate(RequestHandler):
    def get(self) -> None:
        self.write({"certificate": "".join(certificates)})


class Leave(RequestHandler):
    """Copies what only workers hold that leave, and answers when those of a pod may end."""

    async def post(self) -> None:
        asked = json.loads(self.request.body)
        addresses = workers_of(self.server, asked["pod"], asked.get("ip") or "")
        await leave(self.server, addresses, float(asked["seconds"]))
        self.write({})


def workers_of(scheduler: Any, pod: str, ip: str) -> list[str]:
    """Return the addresses of a pod's workers: by their names, else by an address that only the pod has."""
    workers = list(scheduler.workers.values())
    named = [worker for worker in workers if pod in (str(worker.name), str(worker.name).rpartition("-")[0])]
    return [worker.address for worker in named or workers if named or worker.host == ip]


async def leave(scheduler: Any, addresses: list[str], seconds: float) -> None:
    """Return when workers neither run anything nor are the last to hold something, or their time is over.

    They get no more tasks from the first look on. What no worker holds that stays is copied at once, and so
    is what becomes of their tasks.
    """
    begin = hopeful = time.monotonic()
    while True:
        here = [scheduler.workers[address] for address in addresses if address in scheduler.workers]
        for worker in here:
            if worker.status == Status.running:
                scheduler.handle_worker_status_change(Status.paused, worker, "leave")
        held = {task for worker in here for task in worker.has_what if is_last_held(task)}
        is_busy = any(worker.processing for worker in here) or are_about_to_steal(scheduler, here)
        if not held and not is_busy:
            return
        looked_at = time.monotonic()
        if is_busy or scheduler.running:
            hopeful = looked_at
        if looked_at > min(begin + seconds, max(hopeful, *expected) + FOR_A_NEWCOMER):
            return
        copy(scheduler, held)
        # However much there is to look at, it takes no more than a tenth of the time.
        await asyncio.sleep(max(0.1, 10 * (time.monotonic() - looked_at)))


def are_about_to_steal(scheduler: Any, workers: list[Any]) -> bool:
    """Whether tasks of other workers may come, of which it is asked whether they have begun."""
    moves = getattr(scheduler.extensions.get("stealing"), "in_flight", {})
    return any(move["thief"] in workers for move in moves.values())


def is_last_held(task: Any) -> bool:
    """Whether no worker holds a result that gets tasks: those that leave don't. Actors can't be copied."""
    return not task.actor and not any(worker.status == Status.running for worker in task.who_has)


def copy(scheduler: Any, tasks: Iterable[Any]) -> None:
    """Have workers fetch results, each the one that holds least; another if that is gone or takes long."""
    now = time.monotonic()
    for key in list(takewhile(lambda key: copying[key][0] < now - BEFORE_ANOTHER_COPY, copying)):
        del copying[key]
    heirs = [(worker.nbytes, number, worker) for number, worker in enumerate(scheduler.running)]
    heapify(heirs)
    asked: dict[str, list[Any]] = {}
    for task in tasks:
        if heirs and copying.get(task.key, (now, None))[1] not in scheduler.running:
            nbytes, number, heir = heirs[0]
            heapreplace(heirs, (nbytes + task.nbytes, number, heir))
            asked.setdefault(heir.address, []).append(task.key)
            copying.pop(task.key, None)
            copying[task.key] = now, heir
    for address, keys in asked.items():
        scheduler.request_acquire_replicas(address, keys, stimulus_id=f"leave-{now}")


class Expect(RequestHandler):
    """Hears that workers are on their way: those that are alone and leave wait for them."""

    def post(self) -> None:
        expected[:] = [time.monotonic()]
        self.write({})


def read_certificate() -> None:
    """Keep the public part of the certificate as it is now: its file may be followed by another."""
    written = dask.config.get("distributed.comm.tls.scheduler.cert", None) or ""
    with suppress(OSError):
        if written and "\n" not in written:
            with open(written) as file:
                written = file.read()
        begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
        body, ended, _ = written.partition(begin)[2].partition(end)
        if ended:
            certificates[:] = [f"{begin}{body}{end}\n"]


async def dask_setup(scheduler: Any) -> None:
    read_certificate()
    ours = (Workers, Drain, Resume, Leave, Expect, Certificate, Demand)
    server = {"dask_server": scheduler}
    routes = [(f"/dask-k8s/v1/{route.__name__.lower()}", route, server) for route in ours]
    if API not in dask.config.get("distributed.scheduler.http.routes"):
        with suppress(ImportError):
            routes += get_handlers(scheduler, [API])
    scheduler.http_application.add_handlers(
        ".*$", [(f"{ANYWHERE}{path}", route, options) for path, route, options in routes]
    )
    await start_preloads_of_files(scheduler)


async def dask_teardown(scheduler: Any) -> None:
    for preload in preloads:
        await preload.teardown()


async def start_preloads_of_files(scheduler: Any) -> None:
    """Start the preloads that YAML files ask for: the variable that brings this module hides them."""
    from distributed.preloading import process_preloads

    written = dask.config.collect(dask.config.paths, env={})
    names = dask.config.get("distributed.scheduler.preload", [], config=written)
    arguments = dask.config.get("distributed.scheduler.preload-argv", [], config=written)
    preloads.extend(process_preloads(scheduler, names, arguments))
    for preload in preloads:
        await preload.start()
