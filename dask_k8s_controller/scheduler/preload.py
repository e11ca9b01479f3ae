"""Runs inside a user's scheduler: routes that tell who runs what right now, and give workers no more tasks.

distributed's own routes can retire a worker, but then the tasks that it runs are run again elsewhere; and
what they tell of workers is a heartbeat old. The controller hands the source of this module to the scheduler
as a preload: https://docs.dask.org/en/stable/customize-initialization.html. Where it isn't loaded, since a
user has configured other preloads, the controller does without. It has to suit any release of distributed.

A worker's pod that is evicted, drained or deleted by anybody asks by ``leave`` to have its results copied
before it ends: its preStop hook does, so no controller has to be there.

It also adds distributed's own routes by which workers are retired, where the configuration lacks them.
"""

import asyncio
import json
import math
import time
from collections.abc import Iterable
from contextlib import suppress
from heapq import heapify, heapreplace
from itertools import chain, islice, takewhile
from operator import add
from typing import Any

import dask.config
from dask.utils import parse_timedelta
from distributed.core import Status
from distributed.http.utils import RequestHandler, get_handlers

API = "distributed.http.scheduler.api"
ANYWHERE = "(?:/.*)?"  # Whatever the dashboard's prefix is.

FOR_A_NEWCOMER = 20.0  # Seconds that results wait for a worker that takes them over if none is said to come.
MOST_TASKS = 2000  # Tasks that are looked at for an answer, however many there are.
MOST_DEPENDENTS = 3  # Of each of them, of which the needs are looked at.
MOST_NEEDS = 20  # Kinds of needs that an answer tells of.
WORTH_A_START = 60.0  # Seconds of work for which one more worker is started that only some tasks need.
LEAST_LOAD = 0.01  # Of a worker, however little work there is: it is started for any.
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


class Demand(RequestHandler):
    def get(self) -> None:
        self.write(demand_of(self.server))


def demand_of(scheduler: Any) -> dict[str, Any]:
    """Tell how many workers could be used for tasks that any can run, and for each kind of needs.

    Without needs ``workers`` is what distributed says itself; ``load`` leaves out those that are there only
    to finish something or to hold results.
    """
    kinds: dict[tuple[Any, ...], list[float]] = {(): [0, 0, 0.0, 0]}
    threads = sum(worker.nthreads for worker in scheduler.workers.values())
    looked_at, pausing, coming = 0, places_that_pause(scheduler), set()
    for task, waits in some_tasks(scheduler):
        looked_at += 1
        needed = kind_of(task, waits=waits)
        kind = kinds.setdefault(needed, [0, 0, 0.0, 0])
        kind[0 if waits and not is_for_one_of(task, pausing) else 1] += 1
        kind[2] += duration_of(scheduler, task)
        if not (waits and needed):  # Perhaps for ever.
            coming.update(dependents_with_needs(task))
    first_queued = [*islice(scheduler.queued, 100)]
    for dependent in coming.union(*map(dependents_with_needs, first_queued)):
        if is_soon(scheduler, dependent, threads):
            kinds.setdefault(kind_of(dependent), [0, 0, 0.0, 0])[3] += 1
    # What the bound leaves out is like what was looked at.
    processing = sum(len(worker.processing) for worker in scheduler.workers.values())
    share = max(1.0, (processing + len(scheduler.unrunnable)) / max(1, looked_at))
    goal = parse_timedelta(dask.config.get("distributed.adaptive.target-duration"))
    waiting, running, seconds, _ = (number * share for number in kinds.pop(()))
    queued = len(scheduler.queued)
    of_queued = sum(duration_of(scheduler, task) for task in first_queued)
    seconds += of_queued * max(1.0, queued / 100)
    load = min(math.ceil(waiting + running) + queued, math.ceil(seconds / goal))
    workers, holding = list(scheduler.workers.values()), 0
    # Those that run tasks with needs hold results as well.
    kept = sum(any(map(kind_of, islice(worker.processing, 10))) for worker in workers)
    if workers:
        load = math.ceil(load * len(workers) / threads)
        limit = sum(worker.memory_limit for worker in workers)
        used = sum(worker.nbytes for worker in workers)
        holding = math.ceil(2 * used * len(workers) / limit) if limit else 0
        if used <= 0.6 * limit:
            holding = min(holding, len(workers))
        else:
            load = max(load, holding - kept)
    worth = max(goal, WORTH_A_START)
    if not kinds:
        target = scheduler.adaptive_target()
        load = target if target >= len(workers) else min(load, target)
        return {"workers": target, "load": load, "needs": []}
    needs = [
        {
            "resources": dict(kind[1:]),
            "pinned": kind[0],
            "waiting": round(waiting * share),
            "running": round(running * share),
            "coming": coming,
            "load": (least := load_of((waiting + running) * share, seconds * share / worth)),
            "slots": math.ceil(least),
        }
        for kind, (waiting, running, seconds, coming) in few(kinds)
    ]
    return {"workers": max(load, holding - kept), "load": load, "needs": needs}


def kind_of(task: Any, *, waits: bool = False) -> tuple[Any, ...]:
    """Return what a task needs of a worker: whether it is for particular ones, and resources; or ()."""
    # One that may run elsewhere, too, and found no worker at all, distributed gives to none that comes.
    is_loose = task.loose_restrictions and not waits
    is_pinned = bool(task.worker_restrictions or task.host_restrictions) and not is_loose
    if not is_pinned and not task.resource_restrictions:
        return ()
    return (is_pinned, *sorted(amounts((task.resource_restrictions or {}).items()).items()))


def load_of(tasks: float, worth: float) -> float:
    """Return how many should run at a time; one worker comes for the first that is yet to wait for one."""
    return min(tasks, max(worth, LEAST_LOAD)) if tasks else LEAST_LOAD


def dependents_with_needs(task: Any) -> list[Any]:
    """Return tasks that wait for a task's result, and then for a worker that has what they need."""
    first = islice(task.dependents, MOST_DEPENDENTS)
    return [one for one in first if one.state == "waiting" and kind_of(one)[:1] == (False,)]


def is_soon(scheduler: Any, task: Any, threads: int) -> bool:
    """Whether what a task waits for will be there by the time that a worker for it has started."""
    first = [*islice(task.waiting_on, MOST_DEPENDENTS)]
    seconds = max((duration_of(scheduler, one) for one in first), default=0.0)
    is_next = not any(one.state == "waiting" for one in first)
    return is_next and seconds * max(1.0, len(task.waiting_on) / max(1, threads)) <= WORTH_A_START


def few(kinds: dict[tuple[Any, ...], list[float]]) -> list[tuple[tuple[Any, ...], list[float]]]:
    """Put kinds together that differ in amounts only, the more of them there are, with the largest amounts.

    So those of other names are never lost among many amounts of one.
    """
    found: dict[tuple[Any, ...], tuple[tuple[Any, ...], list[float]]] = {}
    for width in (0, 1, 4, 16, 10_000):
        found = {}
        for kind, counts in kinds.items():
            alike = (kind[0], *((name, magnitude(amount, width)) for name, amount in kind[1:]))
            before, sums = found.get(alike, (kind, [0, 0, 0.0, 0]))
            largest = map(max, before[1:], kind[1:])  # Of the same names.
            found[alike] = ((kind[0], *largest), list(map(add, sums, counts)))
        if len(found) <= MOST_NEEDS:
            break
    return sorted(found.values(), key=lambda item: -sum(item[1][:2]))[:MOST_NEEDS]


def magnitude(amount: float, width: int) -> float:
    """Return what is the same for amounts that differ by less than so many powers of two; 0 is exact."""
    return int(math.frexp(amount)[1] / width) if width and math.isfinite(amount) else amount


def places_that_pause(scheduler: Any) -> set[str]:
    """Return what tasks may call the workers that are there and get none just now."""
    pausing = [worker for worker in scheduler.workers.values() if worker.status != Status.running]
    return {place for worker in pausing for place in (worker.address, worker.host, str(worker.name))}


def is_for_one_of(task: Any, places: set[str]) -> bool:
    return any(
        not places.isdisjoint(allowed or ()) for allowed in (task.worker_restrictions, task.host_restrictions)
    )


def amounts(resources: Any) -> dict[str, float]:
    """Return amounts as JSON has them: users may give NumPy's numbers, and what no worker can ever have."""
    found = {}
    for name, amount in resources:
        found[str(name)] = math.inf
        with suppress(TypeError, ValueError, OverflowError):
            number = float(amount)
            found[str(name)] = math.inf if math.isnan(number) else number
    return found


def is_bound(task: Any) -> bool:
    """Whether what a task made is to stay where it is: it is an actor, or is for particular workers."""
    return bool(task.actor) or bool(kind_of(task)[:1] == (True,) and len(task.who_has) == 1)


def some_tasks(scheduler: Any) -> Any:
    """Yield tasks that wait for a worker or are on one, and whether they wait; at most `MOST_TASKS`."""
    waiting = ((task, True) for task in scheduler.unrunnable)
    running = (
        (task, False)
        for worker in scheduler.workers.values()
        for task in islice(worker.processing, max(1, MOST_TASKS // len(scheduler.workers)))
    )
    return islice(chain(islice(waiting, MOST_TASKS // 2), running), MOST_TASKS)


def duration_of(scheduler: Any, task: Any) -> float:
    """Return how many seconds a task is expected to take, in any release of distributed."""
    if hasattr(scheduler, "_get_prefix_duration"):
        return float(scheduler._get_prefix_duration(task.prefix))
    return float(scheduler.get_task_duration(task))


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
