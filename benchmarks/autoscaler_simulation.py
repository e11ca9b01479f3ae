"""A Dask cluster on a clock of its own: tasks, workers that take their time to start, and who scales them.

What the scheduler answers follows distributed's ``Scheduler.adaptive_target`` and ``workers_to_close``:
tasks wait in its queue until a worker has room, what they take is estimated by kind, unknown kinds count half
a second until one of them has ended. https://distributed.dask.org/en/stable/scheduling-policies.html
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

TARGET_DURATION = 5.0
UNKNOWN_TASK_DURATION = 0.5
WORKER_SATURATION = 1.1
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Batch:
    """Tasks that a client submits together; it waits for their end, thinks, and goes on.

    Parameters
    ----------
    durations : tuple of float
        Seconds that each task takes.
    kind : str
        What the scheduler calls them: it estimates by kind.
    pause : float
        Seconds before the client's next batch.
    nbytes : int
        Size of each result. With a size, results are held until the next batch begins; without, the client
        takes them at once.
    """

    durations: tuple[float, ...]
    kind: str
    pause: float = 0.0
    nbytes: int = 0


def some_need_a_node(source: random.Random) -> float:
    """Seconds until a pod is a worker: most find room at once, some wait for a node and its image."""
    return source.uniform(8.0, 15.0) if source.random() < 0.7 else source.uniform(30.0, 90.0)


@dataclass(frozen=True)
class Trace:
    """A workload, and the bounds that its user gives the autoscaler."""

    name: str
    batches: tuple[Batch, ...]
    minimum: int = 0
    maximum: int = 50
    threads: int = 2
    start_up: Callable[[random.Random], float] = some_need_a_node
    """Draws the seconds that a pod takes to become a worker."""
    seed: int = 0


@dataclass(eq=False)
class Task:
    """A task and where it stands."""

    duration: float
    kind: str
    nbytes: int
    began: float | None = None
    runs: int = 0


@dataclass(frozen=True)
class Heartbeat:
    """What a worker says of itself; the scheduler tells it to others until it says something else."""

    executing: int = 0
    keys: int = 0
    nbytes: int = 0


@dataclass(eq=False)
class Worker:
    """A worker process: what it runs, what waits on it, what it holds."""

    name: str
    threads: int
    memory: int = 4 * 10**9
    running: dict[Task, None] = field(default_factory=dict)
    backlog: deque[Task] = field(default_factory=deque)
    nbytes: int = 0
    keys: int = 0
    reported: Heartbeat = Heartbeat()
    is_draining: bool = False

    @property
    def state(self) -> Heartbeat:
        return Heartbeat(len(self.running), self.keys, self.nbytes)

    @property
    def processing(self) -> int:
        return len(self.running) + len(self.backlog)


@dataclass(eq=False)
class Pod:
    """A worker's pod, from its creation to its end."""

    name: str
    created: float
    worker: Worker | None = None
    deleted: float | None = None
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)


class Autoscaler(Protocol):
    """Who decides on the number of workers."""

    name: str

    def start(self, cluster: Cluster) -> None:
        """Make a cluster's first pods, and look at it by its `Cluster.call_later`."""
        ...


@dataclass
class Estimate:
    """How long tasks of a kind take, as far as the scheduler knows."""

    average: float = -1.0
    longest: float = 0.0

    @property
    def duration(self) -> float:
        if self.average >= 0:
            return self.average
        return 2 * self.longest if self.longest else UNKNOWN_TASK_DURATION

    def ended(self, duration: float) -> None:
        self.average = duration if self.average < 0 else (duration + self.average) / 2

    def runs_for(self, duration: float) -> None:
        self.longest = max(self.longest, duration)
        if duration > 2 * self.average:
            self.average = -1.0


@dataclass
class Result:
    """What a run came to.

    Parameters
    ----------
    seconds : float
        From the first submission to the last result.
    worker_seconds : float
        Of all pods, from creation to deletion, until the number is back at the minimum.
    ideal : float
        Worker seconds that the tasks alone take.
    changes : list
        When the number of workers was changed, and to what.
    thrown_away : list of float
        For each task that was thrown away while it ran, the seconds that it had run.
    results_lost : int
        Results that were held by the last worker when it went.
    """

    seconds: float
    worker_seconds: float
    ideal: float
    changes: list[tuple[float, int]]
    thrown_away: list[float]
    results_lost: int

    @property
    def recomputed(self) -> int:
        """How many tasks have to run again."""
        return len(self.thrown_away) + self.results_lost

    def reversals(self, window: float) -> int:
        """Count growths that follow a shrinking within the window, and the other way round."""
        count = 0
        steps = [(at, after - before) for (_, before), (at, after) in itertools.pairwise(self.changes)]
        for (earlier, one), (later, other) in itertools.pairwise(steps):
            if one * other < 0 and later - earlier < window:
                count += 1
        return count


class Cluster:
    """The simulation of one trace.

    Parameters
    ----------
    trace : Trace
        What happens.
    heartbeats : bool
        What is known of workers is what their last heartbeat said, and none can be drained: a scheduler that
        has distributed's own routes only. Else it is known at once.
    """

    def __init__(self, trace: Trace, *, heartbeats: bool = False) -> None:
        self.trace = trace
        self.has_heartbeats_only = heartbeats
        self.time = 0.0
        self.replicas = trace.minimum
        self.changes: list[tuple[float, int]] = [(0.0, self.replicas)]
        self.pods: list[Pod] = []
        self.ended_pods: list[Pod] = []
        self.thrown_away: list[float] = []
        self.results_lost = 0
        self.finished: float | None = None
        self.on_change: Callable[[], None] = lambda: None
        self._random = random.Random(trace.seed)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._queue: deque[Task] = deque()
        self._estimates: dict[str, Estimate] = {}
        self._batches = deque(trace.batches)
        self._unfinished = 0
        self._pause = 0.0

    # The clock

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.time)

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.time + max(0.0, delay), next(self._numbers), callback))

    def run(self, autoscaler: Autoscaler, limit: float = 7200.0) -> Result:
        """Run until all is done and the number of workers is back at the minimum."""
        autoscaler.start(self)
        self.call_later(0.0, self._next_batch)
        while self._events and not self._is_over():
            at, _, callback = heapq.heappop(self._events)
            self.time = at
            if at > limit:
                raise TimeoutError(f"{self.trace.name} with {autoscaler.name} does not come to its end")
            callback()
        assert self.finished is not None
        ends = [(pod.created, pod.deleted) for pod in [*self.ended_pods, *self.pods]]
        return Result(
            seconds=self.finished,
            worker_seconds=sum((self.time if end is None else end) - begin for begin, end in ends),
            ideal=sum(sum(batch.durations) for batch in self.trace.batches) / self.trace.threads,
            changes=self.changes,
            thrown_away=self.thrown_away,
            results_lost=self.results_lost,
        )

    def _is_over(self) -> bool:
        return self.finished is not None and len(self.pods) <= self.trace.minimum

    # The client

    def _next_batch(self) -> None:
        for worker in self.workers:
            worker.nbytes = worker.keys = 0  # The client drops the results of the batch before.
        if not self._batches:
            self.finished = self.time
            return
        batch = self._batches.popleft()
        self._unfinished = len(batch.durations)
        self._pause = batch.pause
        self._queue.extend(Task(duration, batch.kind, batch.nbytes) for duration in batch.durations)
        self._schedule()

    # The scheduler and its workers

    @property
    def workers(self) -> list[Worker]:
        return [pod.worker for pod in self.pods if pod.worker is not None]

    def _schedule(self) -> None:
        room = math.ceil(WORKER_SATURATION * self.trace.threads)
        workers = [worker for worker in self.workers if not worker.is_draining]
        while self._queue and workers:
            worker = min(workers, key=lambda worker: worker.processing)
            if worker.processing >= room:
                break
            worker.backlog.append(self._queue.popleft())
            self._run_next(worker)

    def _run_next(self, worker: Worker) -> None:
        while worker.backlog and len(worker.running) < worker.threads:
            task = worker.backlog.popleft()
            task.began, task.runs = self.time, task.runs + 1
            worker.running[task] = None
            run = task.runs
            self.call_later(task.duration, lambda task=task, run=run: self._ended(worker, task, run))

    def _ended(self, worker: Worker, task: Task, run: int) -> None:
        if task not in worker.running or task.runs != run:
            return  # It was thrown away.
        del worker.running[task]
        worker.nbytes += task.nbytes
        worker.keys += bool(task.nbytes)
        self._estimate(task.kind).ended(task.duration)
        self._run_next(worker)
        self._unfinished -= 1
        if self._unfinished:
            self._schedule()
        elif self._batches:
            self.call_later(self._pause, self._next_batch)
        else:
            self._next_batch()

    def _estimate(self, kind: str) -> Estimate:
        return self._estimates.setdefault(kind, Estimate())

    def adaptive_target(self) -> int:
        """What ``/api/v1/adaptive_target`` answers."""
        workers = self.workers
        for worker in workers:
            for task in worker.running:
                assert task.began is not None
                self._estimate(task.kind).runs_for(self.time - task.began)
        processing = [task for worker in workers for task in (*worker.running, *worker.backlog)]
        occupancy = sum(self._estimate(task.kind).duration for task in processing)
        first = list(itertools.islice(self._queue, 100))
        queued = sum(self._estimate(task.kind).duration for task in first)
        if len(self._queue) > 100:
            queued *= len(self._queue) / 100
        cpu = math.ceil((occupancy + queued) / TARGET_DURATION)
        cpu = min(cpu, len(self._queue) + len(processing))
        if workers:
            cpu = math.ceil(cpu / sum(worker.threads for worker in workers) * len(workers))
        elif self._queue:
            cpu = max(1, cpu)
        used, limit = sum(worker.nbytes for worker in workers), sum(worker.memory for worker in workers)
        target = max(cpu, 2 * len(workers) if used > 0.6 * limit else 0)
        return target if target >= len(workers) else len(workers) - len(self.workers_to_close())

    def workers_to_close(self, n: int | None = None) -> list[Worker]:
        """Which workers the scheduler would close: idle ones with little data, or ``n`` whatever they do."""
        workers = sorted(self.workers, key=lambda worker: (bool(worker.processing), worker.nbytes))
        limit = sum(worker.memory for worker in workers)
        total = sum(worker.nbytes for worker in workers)
        closing: list[Worker] = []
        for worker in workers:
            if n is None:
                limit -= worker.memory
                if worker.processing or limit < 2 * total:
                    break
            elif len(closing) == n:
                break
            closing.append(worker)
        return closing

    def report(self, worker: Worker) -> Heartbeat:
        """What the scheduler tells others about a worker."""
        return worker.reported if self.has_heartbeats_only else worker.state

    # Pods

    def set_replicas(self, replicas: int) -> None:
        self.replicas = replicas
        self.changes.append((self.time, replicas))

    def create_pod(self, name: str = "") -> Pod:
        pod = Pod(name or f"pod-{next(self._numbers)}", self.time)
        self.pods.append(pod)
        self.call_later(self.trace.start_up(self._random), lambda: self._started(pod))
        return pod

    def _started(self, pod: Pod) -> None:
        if pod.deleted is None:
            pod.worker = Worker(pod.name, self.trace.threads)
            self._beat(pod)
            self._schedule()
            self.on_change()

    def _beat(self, pod: Pod) -> None:
        if (worker := pod.worker) is not None:
            worker.reported = worker.state
            # https://github.com/dask/distributed: heartbeats are rarer where there are many workers.
            interval = 0.5 if len(self.pods) <= 10 else 1.0
            self.call_later(interval, lambda: self._beat(pod))

    def retire(self, pod: Pod) -> None:
        """Move a worker's results to the others; what it runs is thrown away and begins anew elsewhere."""
        worker, pod.worker = pod.worker, None
        assert worker is not None
        heirs = self.workers
        if heirs:
            heir = min(heirs, key=lambda heir: heir.nbytes)
            heir.nbytes += worker.nbytes
            heir.keys += worker.keys
        else:
            self.results_lost += worker.keys
        self.thrown_away += [self.time - (task.began or 0.0) for task in worker.running]
        self._queue.extendleft([*worker.running, *worker.backlog])
        worker.running.clear()
        worker.backlog.clear()
        self._schedule()

    def delete_pod(self, pod: Pod) -> None:
        self.pods.remove(pod)
        self.ended_pods.append(pod)
        if pod.worker is not None:
            self.retire(pod)
        pod.deleted = self.time


def drawn(seed: int, count: int, draw: Callable[[random.Random], float]) -> tuple[float, ...]:
    """Draw durations; the same for the same seed."""
    source = random.Random(seed)
    return tuple(draw(source) for _ in range(count))


def repeated(batch: Callable[[int], Batch], count: int) -> Iterable[Batch]:
    """Make batches that differ in their number only."""
    return (batch(number) for number in range(count))
