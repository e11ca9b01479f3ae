"""Runs inside a user's scheduler: routes that tell who runs what right now, and give workers no more tasks.

distributed's own routes can retire a worker, but then the tasks that it runs are run again elsewhere; and
what they tell of workers is a heartbeat old. The controller hands the source of this module to the scheduler
as a preload: https://docs.dask.org/en/stable/customize-initialization.html. Where it isn't loaded, since a
user has configured other preloads, the controller does without. It has to suit any release of distributed.

A worker's pod that is evicted, drained or deleted by anybody asks by ``leave`` to have its results moved
before it ends: its preStop hook does, so no controller has to be there.

It also adds distributed's own routes by which workers are retired, where the configuration lacks them.
"""

import asyncio
import json
import time
from contextlib import suppress
from typing import Any

import dask.config
from distributed.core import Status
from distributed.http.utils import RequestHandler, get_handlers

API = "distributed.http.scheduler.api"
ANYWHERE = "(?:/.*)?"  # Whatever the dashboard's prefix is.

FOR_A_NEWCOMER = 20.0  # Seconds that a worker with results waits for another one to take them over.
FOR_MOVING = 0.25  # The share of its time in which its results are moved, though tasks may still run.

draining: set[str] = set()
leaving: set[str] = set()
preloads: list[Any] = []
certificates: list[str] = []


class Workers(RequestHandler):
    def get(self) -> None:
        workers = {
            worker.address: {
                "name": str(worker.name),
                "status": worker.status.name,
                "processing": len(worker.processing),
                "keys": len(worker.has_what),
                "nbytes": worker.nbytes,
                "draining": worker.address in draining,
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
    """Moves what the workers of a pod hold, and answers when they may end."""

    async def post(self) -> None:
        asked = json.loads(self.request.body)
        addresses = workers_of(self.server, asked["pod"], self.request.remote_ip or "")
        leaving.update(addresses)
        try:
            await leave(self.server, addresses, float(asked["seconds"]))
        finally:
            leaving.difference_update(addresses)
        self.write({})


def workers_of(scheduler: Any, pod: str, ip: str) -> list[str]:
    """Return the addresses of a pod's workers: by their names, else by the pod's address."""
    workers = list(scheduler.workers.values())
    named = [worker for worker in workers if pod in (str(worker.name), str(worker.name).rpartition("-")[0])]
    return [worker.address for worker in named or workers if named or worker.host == ip]


async def leave(scheduler: Any, addresses: list[str], seconds: float) -> None:
    begin = time.monotonic()
    while True:
        here = [scheduler.workers[address] for address in addresses if address in scheduler.workers]
        if not any(worker.processing or is_needed(worker) for worker in here):
            return
        passed = time.monotonic() - begin
        others = any(
            worker.status == Status.running and address not in leaving
            for address, worker in scheduler.workers.items()
        )
        if passed > (seconds if others else min(seconds, FOR_A_NEWCOMER)):
            return
        for worker in here:
            if worker.status == Status.running:
                scheduler.handle_worker_status_change(Status.paused, worker, "leave")
        is_due = passed > seconds * (1 - FOR_MOVING)
        if others and (is_due or not any(worker.processing for worker in here)):
            await scheduler.retire_workers(workers=[worker.address for worker in here])
        await asyncio.sleep(0.1)


def is_needed(worker: Any) -> bool:
    """Whether nobody else has something that a worker holds."""
    return any(len(task.who_has) == 1 for task in worker.has_what)


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
    ours = {
        "workers": Workers,
        "drain": Drain,
        "resume": Resume,
        "leave": Leave,
        "certificate": Certificate,
    }
    routes = [(f"/dask-k8s/v1/{name}", route, {"dask_server": scheduler}) for name, route in ours.items()]
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
