"""Who scales a simulated cluster: this project's own planners, or what dask-kubernetes' controller does."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import datetime
from typing import Any

from benchmarks.autoscaler_simulation import Cluster, Heartbeat, Pod, Worker
from dask_k8s_controller.autoscaler.observe import GroupOfWorkers, ObservedAutoscaler
from dask_k8s_controller.autoscaler.plan import plan as plan_autoscaler
from dask_k8s_controller.autoscaler.spec import Autoscaler
from dask_k8s_controller.autoscaler.status import status as autoscaler_status
from dask_k8s_controller.cache import objects
from dask_k8s_controller.cluster.spec import Cluster as DaskCluster
from dask_k8s_controller.plans.actions import Ask, Create, Delete, Outcome, Patch, Resume, Retire, SetScale
from dask_k8s_controller.plans.plan import Plan
from dask_k8s_controller.scheduler import answers
from dask_k8s_controller.settings import Policy
from dask_k8s_controller.worker_group.observe import ObservedGroup
from dask_k8s_controller.worker_group.plan import plan as plan_group
from dask_k8s_controller.worker_group.spec import WorkerGroup
from dask_k8s_models.builders import make_autoscaler_spec, make_cluster_spec, make_worker_group_spec

ANSWER_AFTER = 0.05
"""Seconds that a scheduler takes to answer."""

SCHEDULER = objects.Pod(objects.Meta("simulated-scheduler", "default", "scheduler"), "Running", is_ready=True)


class Ours:
    """The planners of dask_k8s_controller for autoscalers and groups, with their defaults."""

    name = "dask-k8s"

    def __init__(self, behavior: dict[str, Any] | None = None) -> None:
        self._behavior = behavior

    def start(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._policy = Policy()
        self._dask_cluster = DaskCluster.of(_existing(make_cluster_spec("simulated"), "cluster"))
        self._group = WorkerGroup.of(
            _existing(make_worker_group_spec("simulated", "default", n_workers=cluster.replicas), "group")
        )
        manifest = make_autoscaler_spec(
            "simulated", cluster.trace.minimum, cluster.trace.maximum, behavior=self._behavior
        )
        self._autoscaler = Autoscaler.of(_existing(manifest, "autoscaler"))
        self._demand: answers.Answer[answers.Demand] | None = None
        self._workers: answers.Answer[tuple[answers.Worker, ...]] | None = None
        self._turns = itertools.count()
        self._retired: set[str] = set()
        self._busy: dict[str, float] = {}
        self._due: dict[str, datetime] = {}
        self._asking: set[str] = set()
        cluster.on_change = self._group_turn
        self._group_turn()
        self._autoscaler_turn()

    def _autoscaler_turn(self) -> None:
        observed = ObservedAutoscaler(
            self._autoscaler,
            self._cluster.now(),
            cluster=self._dask_cluster,
            scheduler=SCHEDULER,
            target=GroupOfWorkers(self._group, self._pods()),
            demand=self._demand,
            workers=self._workers,
            monotonic=self._cluster.time,
        )
        planned = plan_autoscaler(observed, self._policy)
        status = autoscaler_status(observed, planned, Outcome())
        self._autoscaler = replace(self._autoscaler, status=status)
        self._execute(planned, "autoscaler")
        if any(isinstance(action, SetScale) for action in planned.actions):
            self._group_turn()

    def _group_turn(self) -> None:
        observed = ObservedGroup(
            self._group,
            self._cluster.now(),
            cluster=self._dask_cluster,
            scheduler=SCHEDULER,
            pods=self._pods(),
            workers=self._workers,
            retirement=answers.Retirement(done=frozenset(self._retired), busy=dict(self._busy)),
            entropy=str(next(self._turns)),
            is_autoscaled=True,
            monotonic=self._cluster.time,
        )
        plan = plan_group(observed, self._policy)
        self._execute(plan, "group")

    def _execute(self, plan: Plan[Any], who: str) -> None:
        by_name = {pod.name: pod for pod in self._cluster.pods}
        for action in plan.actions:
            match action:
                case Create(body):
                    pod = self._cluster.create_pod(body["metadata"]["name"])
                    pod.labels |= body["metadata"]["labels"]
                    pod.annotations |= body["metadata"]["annotations"]
                case Delete("Pod", name):
                    self._cluster.delete_pod(by_name[name])
                case SetScale(replicas=replicas):
                    self._cluster.set_replicas(replicas)
                    self._group = _scaled(self._group, replicas)
                case Patch("Pod", name, _, patch):
                    _annotate(by_name[name], patch)
        for question in plan.questions:
            match question:
                case Ask.DEMAND:
                    self._ask("demand")
                case Ask.WORKERS:
                    self._ask(f"workers for {who}")
                case Retire(pods, patient):
                    for uid, _ in pods:
                        self._retire(by_name[uid], is_patient=uid in patient)
                    self._workers = None
                    self._cluster.call_later(ANSWER_AFTER, self._group_turn)
                case Resume(addresses):
                    for worker in self._cluster.workers:
                        worker.is_draining &= _worker(worker, worker.state).address not in addresses
                    self._workers = None
                    self._cluster.call_later(ANSWER_AFTER, self._group_turn)
        if plan.requeue_at is not None:
            self._look_at(plan.requeue_at, who)
        if plan.actions and who == "group":
            self._cluster.call_later(0.0, self._group_turn)

    def _retire(self, pod: Pod, *, is_patient: bool) -> None:
        assert pod.worker is not None
        if is_patient:
            pod.worker.is_draining = True
            if pod.worker.processing:
                self._busy[pod.name] = self._cluster.time
                return
        self._cluster.retire(pod)
        self._retired.add(pod.name)

    def _look_at(self, due: datetime, who: str) -> None:
        if (
            self._due.get(who, datetime.max.replace(tzinfo=due.tzinfo)) <= due
            and self._due[who] > self._cluster.now()
        ):
            return
        self._due[who] = due
        turn = self._autoscaler_turn if who == "autoscaler" else self._group_turn

        def look() -> None:
            if self._due.get(who) == due:
                del self._due[who]
                turn()

        self._cluster.call_later((due - self._cluster.now()).total_seconds(), look)

    def _ask(self, what: str) -> None:
        if what in self._asking:
            return
        self._asking.add(what)

        def answer() -> None:
            self._asking.discard(what)
            if what == "demand":
                self._demand = answers.Answer(
                    self._cluster.time, answers.Demand(self._cluster.adaptive_target())
                )
            else:
                cluster = self._cluster
                known = tuple(
                    _worker(worker, cluster.report(worker), can_drain=not cluster.has_heartbeats_only)
                    for worker in cluster.workers
                )
                self._workers = answers.Answer(self._cluster.time, known)
            turn = self._group_turn if what.endswith("group") else self._autoscaler_turn
            turn()

        self._cluster.call_later(ANSWER_AFTER, answer)

    def _pods(self) -> tuple[objects.Pod, ...]:
        return tuple(_pod(pod, self._group) for pod in self._cluster.pods)


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
        for _ in range(cluster.replicas):
            cluster.create_pod()
        self._look()

    def _look(self) -> None:
        cluster = self._cluster
        cluster.call_later(5.0, self._look)
        if cluster.time < self._cooldown_until:
            return
        desired = min(max(cluster.adaptive_target(), cluster.trace.minimum), cluster.trace.maximum)
        if cluster.replicas > 0:
            desired = max(desired, cluster.replicas - max(1, int(cluster.replicas * 0.25)))
        if desired == cluster.replicas:
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
    return objects.Pod(meta, "Running" if has_started else "Pending", is_ready=has_started, ip=pod.name)


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
    )


def _annotate(pod: Pod, patch: dict[str, Any]) -> None:
    for key, value in (patch["metadata"].get("annotations") or {}).items():
        if value is None:
            pod.annotations.pop(key, None)
        else:
            pod.annotations[key] = value
