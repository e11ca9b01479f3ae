"""Runs inside a user's scheduler: how many workers could be used, and for what.

`scheduler.preload` serves it, and is handed to the scheduler together with it.
"""

import math
from contextlib import suppress
from itertools import chain, islice
from operator import add
from typing import Any

import dask.config
from dask.utils import parse_timedelta
from distributed.core import Status
from distributed.http.utils import RequestHandler

MOST_TASKS = 2000  # Tasks that are looked at for an answer, however many there are.
MOST_DEPENDENTS = 3  # Of each of them, of which the needs are looked at.
MOST_NEEDS = 20  # Kinds of needs that an answer tells of.
WORTH_A_START = 60.0  # Seconds of work for which one more worker is started that only some tasks need.
LEAST_LOAD = 0.01  # Of a worker, however little work there is: it is started for any.


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
