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
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from benchmarks.autoscaler_workloads import Batch, Kind, Trace

TARGET_DURATION = 5.0
UNKNOWN_TASK_DURATION = 0.5
WORKER_SATURATION = 1.1
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(eq=False)
class Task:
    """A task and where it stands."""

    duration: float
    batch: Batch
    client: int = 0
    number: int = 0
    began: float | None = None
    runs: int = 0

    @property
    def kind(self) -> str:
        return self.batch.kind


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
    of: Kind
    running: dict[Task, None] = field(default_factory=dict)
    backlog: deque[Task] = field(default_factory=deque)
    held: list[Task] = field(default_factory=list)
    reported: Heartbeat = Heartbeat()
    is_draining: bool = False

    @property
    def keys(self) -> int:
        return len(self.held)

    @property
    def nbytes(self) -> int:
        return sum(task.batch.nbytes for task in self.held)

    @property
    def state(self) -> Heartbeat:
        return Heartbeat(len(self.running), self.keys, self.nbytes)

    @property
    def processing(self) -> int:
        return len(self.running) + len(self.backlog)

    def can_ever_run(self, task: Task) -> bool:
        return all(self.of.resources.get(name, 0) >= amount for name, amount in task.batch.needs.items())

    def can_run(self, task: Task) -> bool:
        """Whether a thread, and what the task needs, is free now."""
        return len(self.running) < self.of.threads and all(
            self.of.resources.get(name, 0) - sum(other.batch.needs.get(name, 0) for other in self.running)
            >= amount
            for name, amount in task.batch.needs.items()
        )


@dataclass(eq=False)
class Pod:
    """A worker's pod, from its creation to its end."""

    name: str
    created: float
    of: Kind
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
    cost : float
        The same, weighted by the price of each.
    ideal : float
        Worker seconds that the tasks alone take.
    changes : list
        For each group, when its number of workers was changed, and to what.
    thrown_away : list of float
        For each task that was thrown away while it ran, the seconds that it had run.
    results_lost : int
        Results that were held by the last worker when it went.
    """

    seconds: float
    worker_seconds: float
    cost: float
    ideal: float
    changes: list[list[tuple[float, int]]]
    thrown_away: list[float]
    results_lost: int

    @property
    def recomputed(self) -> int:
        """How many tasks have to run again."""
        return len(self.thrown_away) + self.results_lost

    def reversals(self, window: float) -> int:
        """Count growths that follow a shrinking within the window, and the other way round."""
        count = 0
        for changes in self.changes:
            steps = [(at, after - before) for (_, before), (at, after) in itertools.pairwise(changes)]
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
        self.kinds = {kind.name: kind for kind in trace.groups}
        self.replicas = {kind.name: kind.minimum for kind in trace.groups}
        self.changes = {name: [(0.0, replicas)] for name, replicas in self.replicas.items()}
        self.pods: list[Pod] = []
        self.ended_pods: list[Pod] = []
        self.thrown_away: list[float] = []
        self.results_lost = 0
        self.finished: float | None = None
        self.on_change: Callable[[], None] = lambda: None
        self.queue: deque[Task] = deque()
        self.unrunnable: dict[Task, None] = {}
        # Of each group for itself, so that one policy's pods of a group start as those of another.
        self._random = {
            kind.name: random.Random(f"{trace.seed} {kind.name}" if number else trace.seed)
            for number, kind in enumerate(trace.groups)
        }
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._estimates: dict[str, Estimate] = {}
        self._batches = [deque(batches) for batches in trace.clients]
        self._unfinished = [0] * len(trace.clients)
        self._pauses = [0.0] * len(trace.clients)
        self._at_work = set(range(len(trace.clients)))

    # The clock

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.time)

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.time + max(0.0, delay), next(self._numbers), callback))

    def run(self, autoscaler: Autoscaler, limit: float = 7200.0) -> Result:
        """Run until all is done and the number of workers is back at the minimum."""
        autoscaler.start(self)
        lead = self.trace.lead
        for client in self._at_work:
            self.call_later(lead, lambda client=client: self._next_batch(client))
        while self._events and not self._is_over():
            at, _, callback = heapq.heappop(self._events)
            self.time = at
            if at > limit:
                raise TimeoutError(f"{self.trace.name} with {autoscaler.name} does not come to its end")
            callback()
        assert self.finished is not None
        lives = [
            (pod.of.price, (self.time if pod.deleted is None else pod.deleted) - max(lead, pod.created))
            for pod in [*self.ended_pods, *self.pods]
        ]
        return Result(
            seconds=self.finished - lead,
            worker_seconds=sum(seconds for _, seconds in lives),
            cost=sum(price * seconds for price, seconds in lives),
            ideal=self.trace.ideal,
            changes=[*self.changes.values()],
            thrown_away=self.thrown_away,
            results_lost=self.results_lost,
        )

    def _is_over(self) -> bool:
        return self.finished is not None and all(
            sum(pod.of is kind for pod in self.pods) <= kind.minimum for kind in self.trace.groups
        )

    # The clients

    def _next_batch(self, client: int) -> None:
        for worker in self.workers:
            # The client drops the results of the batch before.
            worker.held = [task for task in worker.held if task.client != client]
        if not self._batches[client]:
            self._at_work.discard(client)
            if not self._at_work:
                self.finished = self.time
            return
        batch = self._batches[client].popleft()
        self._unfinished[client] = sum(len(stage.durations) for stage in batch.stages)
        self._pauses[client] = batch.pause
        for number, duration in enumerate(batch.durations):
            self._submit(Task(duration, batch, client, number))
        self._schedule()

    def _submit(self, task: Task) -> None:
        if task.batch.needs:
            self.unrunnable[task] = None
        else:
            self.queue.append(task)

    # The scheduler and its workers

    @property
    def workers(self) -> list[Worker]:
        return [pod.worker for pod in self.pods if pod.worker is not None]

    def _schedule(self) -> None:
        workers = [worker for worker in self.workers if not worker.is_draining]
        for task in [*self.unrunnable]:
            # Tasks with needs don't wait in the queue, but on a worker.
            able = [worker for worker in workers if worker.can_ever_run(task)]
            if able:
                del self.unrunnable[task]
                worker = min(able, key=lambda worker: worker.processing)
                worker.backlog.append(task)
                self._run_next(worker)
        victims = [worker for worker in self.workers if any(task.batch.needs for task in worker.backlog)]
        for thief in workers if victims else ():
            self._steal(thief, victims)
        while self.queue and workers:
            worker = min(workers, key=lambda worker: worker.processing / worker.of.threads)
            if worker.processing >= math.ceil(WORKER_SATURATION * worker.of.threads):
                break
            worker.backlog.append(self.queue.popleft())
            self._run_next(worker)

    def _steal(self, thief: Worker, victims: list[Worker]) -> None:
        """Let a worker take tasks with needs that wait on others."""
        for victim in sorted(victims, key=lambda worker: -len(worker.backlog)):
            for task in [task for task in victim.backlog if task.batch.needs]:
                if victim is not thief and thief.can_run(task):
                    victim.backlog.remove(task)
                    thief.backlog.append(task)
                    self._run_next(thief)

    def _run_next(self, worker: Worker) -> None:
        while task := next((task for task in worker.backlog if worker.can_run(task)), None):
            worker.backlog.remove(task)
            task.began, task.runs = self.time, task.runs + 1
            worker.running[task] = None
            run = task.runs
            self.call_later(task.duration, lambda task=task, run=run: self._ended(worker, task, run))

    def _ended(self, worker: Worker, task: Task, run: int) -> None:
        if task not in worker.running or task.runs != run:
            return  # It was thrown away.
        del worker.running[task]
        if task.batch.nbytes:
            worker.held.append(task)
        self._estimate(task.kind).ended(task.duration)
        self._run_next(worker)
        client = task.client
        if (then := task.batch.then) is not None:
            self._submit(Task(then.durations[task.number], then, client, task.number))
        self._unfinished[client] -= 1
        if self._unfinished[client]:
            self._schedule()
        elif self._batches[client]:
            self.call_later(self._pauses[client], lambda: self._next_batch(client))
        else:
            self._next_batch(client)

    def _estimate(self, kind: str) -> Estimate:
        return self._estimates.setdefault(kind, Estimate())

    def duration_of(self, kind: str) -> float:
        """How long the scheduler expects tasks of a kind to take."""
        return self._estimate(kind).duration

    def adaptive_target(self) -> int:
        """What ``/api/v1/adaptive_target`` answers."""
        workers = self.workers
        for worker in workers:
            for task in worker.running:
                assert task.began is not None
                self._estimate(task.kind).runs_for(self.time - task.began)
        processing = [task for worker in workers for task in (*worker.running, *worker.backlog)]
        occupancy = sum(self.duration_of(task.kind) for task in processing)
        waiting = len(self.queue) + len(self.unrunnable)
        first = itertools.islice(itertools.chain(self.queue, self.unrunnable), 100)
        queued = sum(self.duration_of(task.kind) for task in first) * max(1.0, waiting / 100)
        cpu = math.ceil((occupancy + queued) / TARGET_DURATION)
        cpu = min(cpu, waiting + len(processing))
        if workers:
            cpu = math.ceil(cpu / sum(worker.of.threads for worker in workers) * len(workers))
        elif waiting:
            cpu = max(1, cpu)
        used, limit = sum(worker.nbytes for worker in workers), sum(worker.of.memory for worker in workers)
        target = max(cpu, 2 * len(workers) if used > 0.6 * limit else 0)
        return target if target >= len(workers) else len(workers) - len(self.workers_to_close())

    def workers_to_close(self, n: int | None = None) -> list[Worker]:
        """Which workers the scheduler would close: idle ones with little data, or ``n`` whatever they do."""
        workers = sorted(self.workers, key=lambda worker: (bool(worker.processing), worker.nbytes))
        limit = sum(worker.of.memory for worker in workers)
        total = sum(worker.nbytes for worker in workers)
        closing: list[Worker] = []
        for worker in workers:
            if n is None:
                limit -= worker.of.memory
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

    def set_replicas(self, replicas: int, group: str = "default") -> None:
        self.replicas[group] = replicas
        self.changes[group].append((self.time, replicas))

    def create_pod(self, name: str = "", group: str = "default") -> Pod:
        pod = Pod(name or f"pod-{next(self._numbers)}", self.time, self.kinds[group])
        self.pods.append(pod)
        self.call_later(pod.of.start_up(self._random[group]), lambda: self._started(pod))
        return pod

    def _started(self, pod: Pod) -> None:
        if pod.deleted is None:
            pod.worker = Worker(pod.name, pod.of)
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
            heir.held += worker.held
        else:
            self.results_lost += worker.keys
        self.thrown_away += [self.time - (task.began or 0.0) for task in worker.running]
        for task in (*worker.running, *worker.backlog):
            if task.batch.needs:
                self.unrunnable[task] = None
            else:
                self.queue.appendleft(task)
        worker.running.clear()
        worker.backlog.clear()
        self._schedule()

    def delete_pod(self, pod: Pod) -> None:
        self.pods.remove(pod)
        self.ended_pods.append(pod)
        if pod.worker is not None:
            self.retire(pod)
        pod.deleted = self.time
