"""Who scales a simulated cluster: this project's own planners, or what dask-kubernetes' controller does."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import SimpleNamespace
from typing import Any, NamedTuple

from distributed.core import Status

from benchmarks.autoscaler_simulation import Cluster, Heartbeat, Pod, Task, Worker
from benchmarks.autoscaler_workloads import Batch, Kind
from dask_k8s_controller.autoscaler.observe import ObservedAutoscaler
from dask_k8s_controller.autoscaler.plan import plan as plan_autoscaler
from dask_k8s_controller.autoscaler.spec import Autoscaler
from dask_k8s_controller.autoscaler.status import is_up_to_date
from dask_k8s_controller.autoscaler.status import status as autoscaler_status
from dask_k8s_controller.autoscaler.workforce import Workforce, workforce
from dask_k8s_controller.cache import objects
from dask_k8s_controller.cluster.spec import Cluster as DaskCluster
from dask_k8s_controller.plans.actions import Ask, Create, Delete, Outcome, Patch, Resume, Retire, SetScale
from dask_k8s_controller.plans.plan import Plan
from dask_k8s_controller.scheduler import answers
from dask_k8s_controller.scheduler.demand import demand_of
from dask_k8s_controller.scheduler.parsing import DEMAND, read
from dask_k8s_controller.settings import Policy
from dask_k8s_controller.worker_group.observe import ObservedGroup
from dask_k8s_controller.worker_group.plan import plan as plan_group
from dask_k8s_controller.worker_group.spec import WorkerGroup
from dask_k8s_models.builders import make_autoscaler_spec, make_cluster_spec, make_worker_group_spec

ANSWER_AFTER = 0.05
"""Seconds that a scheduler takes to answer."""

SCHEDULER = objects.Pod(objects.Meta("simulated-scheduler", "default", "scheduler"), "Running", is_ready=True)


class Ours:
    """The planners of dask_k8s_controller for autoscalers and groups, with their defaults.

    Parameters
    ----------
    knows_needs : bool
        The scheduler has the route that tells what tasks need; without it groups follow one number for all,
        in whatever order they come.
    """

    name = "dask-k8s"

    def __init__(self, *, knows_needs: bool = True) -> None:
        self._knows_needs = knows_needs

    def start(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._policy = Policy()
        self._dask_cluster = DaskCluster.of(_existing(make_cluster_spec("simulated"), "cluster"))
        self._groups = {kind.name: _group(kind) for kind in cluster.trace.groups}
        self._autoscalers = {
            kind.name: _autoscaler(kind, priority) for priority, kind in enumerate(cluster.trace.groups)
        }
        self._demand: answers.Answer[answers.Demand] | None = None
        self._workers: answers.Answer[tuple[answers.Worker, ...]] | None = None
        self._turns = itertools.count()
        self._order = random.Random(cluster.trace.seed)
        self._retired: set[str] = set()
        self._leaving: set[str] = set()
        self._busy: dict[str, float] = {}
        self._due: dict[Who, datetime] = {}
        self._asking: dict[str, set[Who]] = {}
        self._parsed: dict[str, tuple[Any, objects.Pod]] = {}
        cluster.on_change = self._all_groups
        self._all_groups()
        for name in self._autoscalers:
            self._autoscaler_turn(name)

    def _all_groups(self) -> None:
        for name in self._groups:
            self._group_turn(name)

    def _workforce(self) -> Workforce:
        return workforce(
            self._groups.values(),
            self._pods(),
            self._autoscalers.values(),
            self._demand,
            self._workers,
        )

    def _autoscaler_turn(self, name: str) -> None:
        everybody = self._workforce()
        observed = ObservedAutoscaler(
            self._autoscalers[name],
            self._cluster.now(),
            cluster=self._dask_cluster,
            scheduler=SCHEDULER,
            target=everybody.members[self._groups[name].name],
            workers=self._workers,
            workforce=everybody,
            monotonic=self._cluster.time,
        )
        planned = plan_autoscaler(observed, self._policy)
        status = autoscaler_status(observed, planned, Outcome())
        self._autoscalers[name] = replace(self._autoscalers[name], status=status)
        self._execute(planned, Who("autoscaler", name))
        if any(isinstance(action, SetScale) for action in planned.actions):
            self._group_turn(name)

    def _group_turn(self, name: str) -> None:
        group = self._groups[name]
        observed = ObservedGroup(
            group,
            self._cluster.now(),
            cluster=self._dask_cluster,
            scheduler=SCHEDULER,
            pods=self._pods(name),
            cluster_pods=self._pods(),
            others_remain=any(other.replicas for other in self._groups.values() if other is not group),
            workers=self._workers,
            retirement=answers.Retirement(done=set(self._retired), busy=dict(self._busy)),
            entropy=str(next(self._turns)),
            is_autoscaled=True,
            monotonic=self._cluster.time,
        )
        self._execute(plan_group(observed, self._policy), Who("group", name))

    def _execute(self, plan: Plan[Any], who: Who) -> None:
        by_name = {pod.name: pod for pod in self._cluster.pods}
        for action in plan.actions:
            match action:
                case Create(body):
                    pod = self._cluster.create_pod(body["metadata"]["name"], who.name)
                    pod.labels |= body["metadata"]["labels"]
                    pod.annotations |= body["metadata"]["annotations"]
                case Delete("Pod", name):
                    self._delete(by_name[name])
                case SetScale(replicas=replicas):
                    self._cluster.set_replicas(replicas, who.name)
                    self._groups[who.name] = _scaled(self._groups[who.name], replicas)
                case Patch("Pod", name, _, patch):
                    _annotate(by_name[name], patch)
        for question in plan.questions:
            match question:
                case Ask.DEMAND:
                    self._ask("demand", who)
                case Ask.WORKERS:
                    self._ask("workers", who)
                case Retire(pods, patient):
                    for uid, _ in pods:
                        self._retire(by_name[uid], is_patient=uid in patient)
                    self._workers = None
                    self._cluster.call_later(ANSWER_AFTER, lambda: self._turn(who))
                case Resume(addresses):
                    for worker in self._cluster.workers:
                        worker.is_draining &= _worker(worker, worker.state).address not in addresses
                    self._workers = None
                    self._cluster.call_later(ANSWER_AFTER, lambda: self._turn(who))
        if plan.requeue_at is not None:
            self._look_at(plan.requeue_at, who)
        if plan.actions and who.kind == "group":
            self._cluster.call_later(0.0, lambda: self._turn(who))

    def _turn(self, who: Who) -> None:
        if who.kind == "autoscaler":
            self._autoscaler_turn(who.name)
        else:
            self._group_turn(who.name)

    def _delete(self, pod: Pod) -> None:
        """Delete a pod when it has finished its tasks: its preStop hook sees to it."""
        if pod.worker is not None and pod.worker.processing:
            self._leaving.add(pod.name)
            pod.worker.is_draining = True
            self._cluster.call_later(1.0, lambda: self._delete(pod))
        else:
            self._cluster.delete_pod(pod)

    def _retire(self, pod: Pod, *, is_patient: bool) -> None:
        assert pod.worker is not None
        if is_patient:
            pod.worker.is_draining = True
            if pod.worker.processing:
                self._busy[pod.name] = self._cluster.time
                return
        self._cluster.retire(pod)
        self._retired.add(pod.name)

    def _look_at(self, due: datetime, who: Who) -> None:
        now = self._cluster.now()
        if who in self._due and now < self._due[who] <= due:
            return
        self._due[who] = due

        def look() -> None:
            if self._due.get(who) == due:
                del self._due[who]
                self._turn(who)

        self._cluster.call_later((due - now).total_seconds(), look)

    def _ask(self, what: str, who: Who) -> None:
        """Ask once for all that want to know."""
        if what in self._asking:
            self._asking[what].add(who)
            return
        self._asking[what] = {who}
        self._cluster.call_later(ANSWER_AFTER, lambda: self._answer(what))

    def _answer(self, what: str) -> None:
        interested = sorted(self._asking.pop(what))
        if what == "demand":
            said = demand_of(Scheduler(self._cluster)) if self._knows_needs else None
            demand = read(DEMAND, said or {"workers": self._cluster.adaptive_target()})
            self._demand = answers.Answer(self._cluster.time, demand)
        else:
            cluster = self._cluster
            known = tuple(
                _worker(worker, cluster.report(worker), can_drain=not cluster.has_heartbeats_only)
                for worker in cluster.workers
            )
            self._workers = answers.Answer(self._cluster.time, known)
        everybody = self._workforce()
        first = everybody.first
        if any(first == self._autoscalers[who.name].name for who in interested):
            concerned = {
                Who("autoscaler", name)
                for name in self._autoscalers
                if not is_up_to_date(everybody.members[self._groups[name].name], everybody)
            }
            interested = sorted({*interested, *concerned})
        self._order.shuffle(interested)
        for who in interested:
            self._turn(who)

    def _pods(self, name: str = "") -> tuple[objects.Pod, ...]:
        return tuple(
            self._seen(pod)
            for pod in self._cluster.pods
            if name in ("", pod.of.name) and pod.name not in self._leaving
        )

    def _seen(self, pod: Pod) -> objects.Pod:
        """Return a pod as the cache has it, parsed once for each of its versions."""
        version = pod.worker is not None, *pod.annotations.items()
        known = self._parsed.get(pod.name)
        if known is None or known[0] != version:
            known = self._parsed[pod.name] = version, _pod(pod, self._groups[pod.of.name])
        return known[1]


class Who(NamedTuple):
    """Whose turn it is: a group's, or that of its autoscaler."""

    kind: str
    name: str


class Scheduler:
    """A simulated scheduler as the controller's route sees it."""

    def __init__(self, cluster: Cluster) -> None:
        self.adaptive_target = cluster.adaptive_target
        self._get_prefix_duration = cluster.duration_of
        self.queued = [*map(_task, cluster.queue)]
        self.unrunnable = [*map(_task, cluster.unrunnable)]
        self.workers = {
            worker.name: SimpleNamespace(
                status=Status.running,
                processing=[*map(_task, (*worker.running, *worker.backlog))],
                nthreads=worker.of.threads,
                memory_limit=worker.of.memory,
                nbytes=worker.nbytes,
            )
            for worker in cluster.workers
        }


@dataclass(eq=False)
class SchedulersTask:
    """A simulated task as the controller's route sees it, with what depends on it."""

    batch: Batch
    state: str = "processing"
    waiting_on: tuple[SchedulersTask, ...] = ()
    worker_restrictions: None = None
    host_restrictions: None = None
    loose_restrictions: bool = False

    @property
    def prefix(self) -> str:
        return self.batch.kind

    @property
    def resource_restrictions(self) -> Mapping[str, float]:
        return self.batch.needs

    @property
    def dependents(self) -> tuple[SchedulersTask, ...]:
        return (SchedulersTask(self.batch.then, "waiting", (self,)),) if self.batch.then else ()


def _task(task: Task) -> SchedulersTask:
    return SchedulersTask(task.batch)


class DaskKubernetes:
    """What the controller of dask-kubernetes 2026.3.0 does, written anew from its behaviour.

    It looks every 5 s, but not within 15 s of a change; it follows the scheduler at once upwards, and
    downwards by at most a quarter; the scheduler chooses whom to retire, of the workers that it knows, busy
    or not.
    """

    name = "dask-kubernetes"

    def start(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._cooldown_until = 0.0
        (self._kind,) = cluster.trace.groups
        for _ in range(self._kind.minimum):
            cluster.create_pod()
        self._look()

    def _look(self) -> None:
        cluster = self._cluster
        cluster.call_later(5.0, self._look)
        if cluster.time < self._cooldown_until:
            return
        replicas = cluster.replicas[self._kind.name]
        desired = min(max(cluster.adaptive_target(), self._kind.minimum), self._kind.maximum)
        if replicas > 0:
            desired = max(desired, replicas - max(1, int(replicas * 0.25)))
        if desired == replicas:
            return
        self._cooldown_until = cluster.time + 15.0
        cluster.set_replicas(desired)
        for _ in range(desired - len(cluster.pods)):
            cluster.create_pod()
        surplus = len(cluster.pods) - desired
        if surplus > 0:
            by_worker = {pod.worker: pod for pod in cluster.pods if pod.worker is not None}
            for worker in cluster.workers_to_close(surplus):
                cluster.delete_pod(by_worker[worker])


def _existing(manifest: dict[str, Any], uid: str) -> dict[str, Any]:
    metadata = {**manifest["metadata"], "namespace": "default", "uid": uid, "resourceVersion": "1"}
    if uid != "cluster":
        owner = {"kind": "DaskCluster", "name": "simulated", "uid": "cluster", "controller": True}
        metadata["ownerReferences"] = [owner]
    return {**manifest, "metadata": metadata}


def _group(kind: Kind) -> WorkerGroup:
    manifest = make_worker_group_spec("simulated", kind.name, n_workers=kind.minimum)
    manifest["spec"]["worker"]["resources"] = dict(kind.resources)
    return WorkerGroup.of(_existing(manifest, kind.name))


def _autoscaler(kind: Kind, priority: int) -> Autoscaler:
    manifest = make_autoscaler_spec("simulated", kind.minimum, kind.maximum, worker_group=kind.name)
    manifest["metadata"]["name"] = kind.name
    manifest["spec"]["priority"] = priority
    return Autoscaler.of(_existing(manifest, f"autoscaler of {kind.name}"))


def _scaled(group: WorkerGroup, replicas: int) -> WorkerGroup:
    assert group.spec is not None
    worker = group.spec.worker.model_copy(update={"replicas": replicas})
    return replace(group, spec=group.spec.model_copy(update={"worker": worker}))


def _pod(pod: Pod, group: WorkerGroup) -> objects.Pod:
    has_started = pod.worker is not None
    meta = objects.Meta(
        name=pod.name,
        namespace="default",
        uid=pod.name,
        labels=dict(pod.labels),
        annotations=dict(pod.annotations),
        owner=objects.Owner("DaskWorkerGroup", group.name, group.meta.uid),
    )
    phase, address = "Running" if has_started else "Pending", pod.name
    return objects.Pod(meta, phase, is_ready=has_started, ip=address, addresses=frozenset({address}))


def _worker(worker: Worker, report: Heartbeat, *, can_drain: bool = False) -> answers.Worker:
    return answers.Worker(
        address=f"tcp://{worker.name}:40000",
        host=worker.name,
        name=worker.name,
        executing=report.executing,
        keys=report.keys,
        nbytes=report.nbytes,
        can_drain=can_drain,
        is_draining=worker.is_draining,
        resources=worker.of.resources,
        threads=worker.of.threads,
        memory_limit=worker.of.memory,
    )


def _annotate(pod: Pod, patch: dict[str, Any]) -> None:
    for key, value in (patch["metadata"].get("annotations") or {}).items():
        if value is None:
            pod.annotations.pop(key, None)
        else:
            pod.annotations[key] = value
