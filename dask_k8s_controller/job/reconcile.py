"""A job's turn, and what gives it one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from dask_k8s_controller.cache.cache import By, Cache, newest
from dask_k8s_controller.cache.objects import Pod
from dask_k8s_controller.cluster.spec import Cluster
from dask_k8s_controller.job.observe import ObservedJob
from dask_k8s_controller.job.plan import Retry, plan_job
from dask_k8s_controller.job.spec import Job
from dask_k8s_controller.job.status import created_job_status, job_status
from dask_k8s_controller.job.verdict import verdict
from dask_k8s_controller.kubernetes.api import Api
from dask_k8s_controller.kubernetes.executor import Executor
from dask_k8s_controller.kubernetes.recorder import EventRecorder, Notice, notices
from dask_k8s_controller.kubernetes.resources import JOBS, Key
from dask_k8s_controller.kubernetes.status_writer import StatusWriter, Written
from dask_k8s_controller.plans.actions import Outcome, Plan
from dask_k8s_controller.runtime.clock import Clock
from dask_k8s_controller.runtime.queue import Requeue
from dask_k8s_controller.settings import Settings, setting
from dask_k8s_models import labels, names


class JobReconciler:
    """Gives jobs their turns.

    Parameters
    ----------
    cache : Cache
        What is known.
    api : Api
        Where it is changed.
    clock : Clock
        Time.
    settings : Settings
        Choices.
    events : EventRecorder
        Where the end of a job is told.
    retry : Retry, optional
        How long to wait between attempts; by default as Dask's configuration says.
    """

    def __init__(
        self,
        cache: Cache,
        api: Api,
        clock: Clock,
        settings: Settings,
        events: EventRecorder,
        retry: Retry | None = None,
    ) -> None:
        self._cache = cache
        self._events = events
        self._clock = clock
        self._retry = retry or retry_from_config()
        self._executor = Executor(cache, api, settings.writes_per_object)
        self._statuses = StatusWriter(cache, api, clock, settings.status_interval)

    async def reconcile(self, key: Key) -> Requeue:
        """Bring a job a step closer to what it should be."""
        observed = observe_job(self._cache, self._clock, key)
        if observed is None or observed.job.meta.is_deleting:
            return Requeue.on_change()
        meta, present = observed.job.meta, observed.job.status
        if not present.get("jobStatus"):
            # Before anything else: it tells people that a controller acts.
            await self._statuses.write(key, meta, created_job_status(observed), present)
            observed = observe_job(self._cache, self._clock, key) or observed
        plan = plan_job(observed, self._retry)
        outcome = await self._executor.execute(key, meta.uid, plan.actions)
        after = observe_job(self._cache, self._clock, key)
        if after is None or after.job.meta.is_deleting:
            return Requeue.on_change()
        status = job_status(after, plan, outcome)
        written = await self._statuses.write(key, meta, status, after.job.status)
        if written.is_done:
            for notice in job_notices(after, status):
                self._events.record(JOBS, meta, notice)
        return next_requeue(plan, outcome, written, self._clock.now())

    def forget(self, uid: str) -> None:
        """Drop what is remembered of a job that is gone."""
        self._statuses.forget(uid)


def retry_from_config() -> Retry:
    """Read how long to wait between attempts, in seconds, from ``kubernetes.controller.job``.

    Raises
    ------
    InvalidSetting
        With the key that is wrong.
    """
    return Retry(
        first=setting("job.retry-delay", Retry.first, float),
        longest=setting("job.longest-retry-delay", Retry.longest, float),
    )


def job_notices(observed: ObservedJob, status: Mapping[str, Any]) -> Iterable[Notice]:
    """Find what is worth an Event in a job's new status: how it ended, and what a person must act upon."""
    ended = verdict(observed)
    if ended is not None and ended.is_success:
        yield Notice(ended.reason, ended.message)
    yield from (notice for notice in notices(observed.job.status, status) if notice.is_warning)


def next_requeue(plan: Plan, outcome: Outcome, written: Written, now: datetime) -> Requeue:
    """Say when an object wants its next turn."""
    waits = [written.later] if written.later is not None else []
    if plan.requeue_at is not None:
        waits.append(max(0.0, (plan.requeue_at - now).total_seconds()))
    if outcome.requeue_after is not None:
        waits.append(outcome.requeue_after)
    return Requeue(min(waits, default=None), written.has_failed or not outcome.is_complete)


def observe_job(cache: Cache, clock: Clock, key: Key) -> ObservedJob | None:
    """Gather what a job's plan needs; None if there is no such job."""
    namespace = key.namespace
    jobs: tuple[Job, ...] = newest(cache.store(JOBS.kind).find(By("name", namespace, key.name)))
    if not jobs:
        return None
    job = jobs[0]
    cluster = cache.cluster(namespace, job.cluster)
    workers = _pods(cache, job, labels.Component.WORKER)
    observed = ObservedJob(
        job=job,
        now=clock.now(),
        cluster=cluster,
        scheduler=cache.scheduler(cluster),
        ready_workers=sum(pod.is_ready and pod.is_live for pod in workers),
        pods=_pods(cache, job, labels.Component.JOB_RUNNER),
    )
    next_name = By("name", namespace, names.runner(job.name, observed.attempts + 1))
    return replace(observed, strangers=newest(cache.pods.find(next_name)))


def job_keys(cache: Cache, facts: Any) -> Iterable[Key]:
    """Name the jobs that a change of an object concerns."""
    namespace = facts.meta.namespace
    match facts:
        case Job(name=name):
            yield Key(JOBS.kind, namespace, name)
        case Cluster(name=cluster):
            yield from _jobs_of(cache, namespace, cluster)
        case Pod(meta=meta):
            component = meta.labels.get(labels.COMPONENT)
            if component == labels.Component.JOB_RUNNER and meta.owner is not None:
                yield Key(JOBS.kind, namespace, meta.owner.name)
            elif component in (labels.Component.SCHEDULER, labels.Component.WORKER):
                yield from _jobs_of(cache, namespace, meta.labels.get(labels.CLUSTER_NAME, ""))


def _jobs_of(cache: Cache, namespace: str, cluster: str) -> Iterable[Key]:
    for job in cache.store(JOBS.kind).find(By("cluster", namespace, cluster)):
        yield Key(JOBS.kind, namespace, job.name)


def _pods(cache: Cache, job: Job, component: labels.Component) -> tuple[Pod, ...]:
    return newest(cache.pods.find(By("component", job.meta.namespace, job.cluster, component)))
