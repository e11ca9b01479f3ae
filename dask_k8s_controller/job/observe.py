"""What a job's plan is made from: everything about one DaskJob at one moment."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from dask_k8s_controller.cache.cache import Cache, newest
from dask_k8s_controller.cache.objects import By, Meta, Owner, Pod, Sought
from dask_k8s_controller.cluster.observe import InCluster, in_cluster, keys_in, member_keys, sought_scheduler
from dask_k8s_controller.cluster.spec import Cluster
from dask_k8s_controller.job.spec import Job
from dask_k8s_controller.kubernetes.resources import Key
from dask_k8s_controller.plans.plan import Plan
from dask_k8s_controller.worker_group.spec import WorkerGroup
from dask_k8s_models import names

SCHEDULER = "dask.org/scheduler"
"""Annotation of a job's pod: the very scheduler that it works with."""

FAILURES = "dask.org/failures"
"""Annotation of a job's pod: how many failures had preceded it."""


def gather(cache: Cache, job: Job) -> ObservedJob:
    """Gather what a job's plan needs."""
    namespace = job.meta.namespace
    observed = ObservedJob(
        **in_cluster(cache, job),
        ready_workers=cache.summary(WorkerGroup, _ready_workers, By("cluster", namespace, job.cluster)),
        pods=cache.pods(job.meta, By("job", namespace, job.name)),
    )
    next_name = names.runner(job.name, observed.attempts + 1)
    return replace(observed, name_holders=cache.find(Pod, By("name", namespace, next_name)))


def keys(cache: Cache, changed: Any, before: Any = None) -> Iterable[Key]:
    """Name the jobs that a change of an object concerns."""
    match changed:
        case WorkerGroup(meta=meta, cluster=cluster):
            yield from keys_in(cache, Job, meta.namespace, cluster)
        case Pod(meta=Meta(owner=Owner(kind=Job.kind, name=name)) as meta):
            yield Key(Job.kind, meta.namespace, name)
        case _:
            yield from member_keys(cache, Job, changed)


def _ready_workers(groups: tuple[WorkerGroup, ...]) -> int:
    return sum(int(group.status.get("readyReplicas") or 0) for group in newest(groups))


@dataclass(frozen=True)
class ObservedJob(InCluster[Job]):
    """A DaskJob, its pods, and the cluster that it uses."""

    ready_workers: int = 0
    """How many of that cluster's workers are ready: see the status of its groups."""
    name_holders: tuple[Pod, ...] = ()
    """Other pods that hold the name of the job's next pod."""

    @property
    def missing(self) -> tuple[Sought, ...]:
        """The pod of the latest attempt; while it runs, its cluster and its scheduler."""
        if self.subject.has_finished or self.subject.is_suspended:
            return ()
        latest, cluster = self.latest, self.cluster
        if latest is None and self.subject.attempts:
            return (Sought(Pod.kind, names.runner(self.subject.name, self.subject.attempts)),)
        if latest is None or not latest.is_live:
            return ()
        if cluster is None:
            return (Sought(Cluster.kind, self.subject.cluster),)
        return sought_scheduler(cluster) if self.scheduler is None else ()

    @property
    def latest(self) -> Pod | None:
        """The pod of the latest attempt, if it still exists."""
        return max(self.own_pods, key=lambda pod: attempt(self.subject.name, pod.name), default=None)

    @property
    def attempts(self) -> int:
        """How many pods were started."""
        seen = attempt(self.subject.name, self.latest.name) if self.latest else 0
        return max(seen, self.subject.attempts)

    @property
    def own_cluster(self) -> Cluster | None:
        """The cluster that was made for this very job, if it exists."""
        cluster = self.cluster
        is_own = cluster is not None and cluster.meta.is_child_of(self.subject.meta.uid)
        return cluster if is_own and self.subject.has_own_cluster else None

    @property
    def usable_cluster(self) -> Cluster | None:
        """The cluster that the job may use by now."""
        cluster = self.own_cluster if self.subject.has_own_cluster else self.cluster
        return cluster if cluster is not None and not cluster.meta.is_deleting else None

    @property
    def usable_scheduler(self) -> Pod | None:
        """The scheduler of the job's cluster, if there is one."""
        return self.scheduler if self.usable_cluster is not None else None


JobPlan = Plan[ObservedJob]


def attempt(job: str, pod: str) -> int:
    """Return which attempt of a job a pod is, by its name; 0 if it is none."""
    match = re.fullmatch(rf"{re.escape(job)}-runner(?:-([1-9][0-9]{{0,8}}))?", pod)
    return int(match[1] or 1) if match else 0


def instance_of(scheduler: Pod) -> str:
    """Name this very scheduler process: a restarted container is another, without memory."""
    containers = {container.name: container.restarts for container in scheduler.containers}
    restarts = containers.get(scheduler.main, max(containers.values(), default=0))
    return f"{scheduler.meta.uid}.{restarts}"


def has_lost_scheduler(observed: ObservedJob, pod: Pod) -> bool:
    """Whether a pod that runs has lost the scheduler that it worked with."""
    if pod.phase != "Running":
        return False
    scheduler = observed.usable_scheduler
    return scheduler is None or pod.meta.annotations.get(SCHEDULER) != instance_of(scheduler)


def failures(observed: ObservedJob) -> int:
    """Count the failures so far: restarted containers, and pods that failed, went or lost their scheduler.

    As a Kubernetes Job does: https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-backoff-failure-policy
    """
    latest, job = observed.latest, observed.subject
    if latest is None:
        return job.attempts if job.has_started else 0
    noted = latest.meta.annotations.get(FAILURES, "")
    count = int(noted) if re.fullmatch("[0-9]{1,9}", noted) else 0
    for container in latest.containers:
        has_failed_again = container.waiting_reason == "CrashLoopBackOff" and container.exit_code != 0
        count += container.restarts + has_failed_again
    # A pod that goes before the job has started, or started again, was stopped by a suspension.
    has_failed = latest.phase == "Failed" and (job.has_started or not latest.meta.is_deleting)
    is_lost = latest.meta.is_deleting or has_lost_scheduler(observed, latest)
    if has_failed or (is_lost and job.has_started):
        count += 1
    if job.has_started:
        count += max(0, job.attempts - attempt(job.name, latest.name))
    return count
