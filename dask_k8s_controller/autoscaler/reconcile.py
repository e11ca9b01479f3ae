"""An autoscaler's turn, and what gives it one."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from dask_k8s_controller.autoscaler.demand import Demands
from dask_k8s_controller.autoscaler.observe import GroupOfWorkers, ObservedAutoscaler
from dask_k8s_controller.autoscaler.plan import AutoscalerPlan, Pace, Scale, plan_autoscaler
from dask_k8s_controller.autoscaler.spec import Autoscaler
from dask_k8s_controller.autoscaler.status import autoscaler_status
from dask_k8s_controller.cache.cache import By, Cache, newest
from dask_k8s_controller.cache.objects import Pod
from dask_k8s_controller.cluster.spec import Cluster
from dask_k8s_controller.job.reconcile import next_requeue
from dask_k8s_controller.kubernetes.api import Api
from dask_k8s_controller.kubernetes.errors import ApiError, Conflict, Refused
from dask_k8s_controller.kubernetes.executor import Executor
from dask_k8s_controller.kubernetes.recorder import EventRecorder, Notice, notices
from dask_k8s_controller.kubernetes.resources import AUTOSCALERS, GROUPS, Key
from dask_k8s_controller.kubernetes.status_writer import StatusWriter
from dask_k8s_controller.plans.actions import Failure, Outcome
from dask_k8s_controller.runtime.clock import Clock
from dask_k8s_controller.runtime.queue import Requeue
from dask_k8s_controller.scheduler.conversations import Conversations
from dask_k8s_controller.settings import Settings, setting
from dask_k8s_controller.worker_group.spec import WorkerGroup
from dask_k8s_models import labels

logger = logging.getLogger(__name__)


class AutoscalerReconciler:
    """Gives autoscalers their turns.

    Parameters
    ----------
    cache : Cache
        What is known.
    api : Api
        Where it is changed.
    conversations : Conversations
        Where schedulers are asked about their workers.
    demands : Demands
        Where they are asked how many workers they could use.
    clock : Clock
        Time.
    settings : Settings
        Choices.
    events : EventRecorder
        Where changes of the number of workers are told.
    pace : Pace, optional
        How long to wait for what; by default as Dask's configuration says.
    """

    def __init__(
        self,
        cache: Cache,
        api: Api,
        conversations: Conversations,
        demands: Demands,
        clock: Clock,
        settings: Settings,
        events: EventRecorder,
        pace: Pace | None = None,
    ) -> None:
        self._events = events
        self._cache = cache
        self._api = api
        self._conversations = conversations
        self._demands = demands
        self._clock = clock
        self._pace = pace or pace_from_config()
        self._executor = Executor(cache, api, settings.writes_per_object)
        self._statuses = StatusWriter(cache, api, clock, settings.status_interval)

    async def reconcile(self, key: Key) -> Requeue:
        """Bring the number of workers a step closer to the demand."""
        observed = self._observe(key)
        if observed is None or observed.autoscaler.meta.is_deleting:
            return Requeue.on_change()
        meta = observed.autoscaler.meta
        planned = plan_autoscaler(observed, self._pace)
        outcome = await self._executor.execute(key, meta.uid, planned.plan.actions)
        was_scaled = False
        if planned.scale is not None:
            was_scaled, outcome = await self._scale(key, planned.scale, outcome)
        self._ask(key, observed, planned)
        status = autoscaler_status(observed, planned, outcome, was_scaled=was_scaled)
        written = await self._statuses.write(key, meta, status, observed.autoscaler.status)
        if was_scaled and planned.scale is not None:
            message = (
                f"{planned.scale.group} has {planned.scale.replicas} workers now, before {observed.replicas}."
            )
            self._events.record(AUTOSCALERS, meta, Notice("SuccessfulRescale", message))
        if written.is_done:
            for notice in notices(observed.autoscaler.status, status):
                if notice.is_warning:
                    self._events.record(AUTOSCALERS, meta, notice)
        return next_requeue(planned.plan, outcome, written, self._clock.now())

    def forget(self, uid: str) -> None:
        """Drop what is remembered of an autoscaler that is gone."""
        self._statuses.forget(uid)

    def _observe(self, key: Key) -> ObservedAutoscaler | None:
        observed = observe_autoscaler(self._cache, self._clock, key)
        if observed is None or observed.scheduler is None:
            return observed
        uid = observed.scheduler.meta.uid
        return replace(observed, demand=self._demands.demand(uid), workers=self._conversations.workers(uid))

    def _ask(self, key: Key, observed: ObservedAutoscaler, planned: AutoscalerPlan) -> None:
        endpoint = self._cache.endpoint(observed.cluster) if observed.cluster is not None else None
        if endpoint is None:
            return
        if planned.asks_demand:
            self._demands.ask(endpoint, key)
        for question in planned.plan.questions:
            self._conversations.ask(question, endpoint, key, observed.autoscaler.meta.uid)

    async def _scale(self, key: Key, scale: Scale, outcome: Outcome) -> tuple[bool, Outcome]:
        """Set a group's replicas as ``kubectl scale`` does; return whether that is known to have worked."""
        patch = {"metadata": {"resourceVersion": scale.version}, "spec": {"replicas": scale.replicas}}
        is_done = False
        try:
            await self._api.patch(GROUPS, key.namespace, scale.group, patch, "scale")
            is_done = True
            logger.info("%s: scaled the group %s to %s.", key, scale.group, scale.replicas)
        except Conflict as error:
            logger.debug("%s: %s", key, error)
            outcome = replace(outcome, has_conflicts=True)
        except ApiError as error:
            logger.warning("%s: the group %s could not be scaled: %s", key, scale.group, error)
            failure = Failure(f"{GROUPS.kind} {scale.group}", error.message, isinstance(error, Refused))
            outcome = replace(outcome, failures=(*outcome.failures, failure))
        await self._see_group(key, scale.group)
        return is_done, outcome

    async def _see_group(self, key: Key, name: str) -> None:
        """Read the group as it is now: the scale subresource shows only a part of it."""
        try:
            body = await self._api.get(GROUPS, key.namespace, name)
        except ApiError as error:
            logger.debug("%s: %s", key, error)
            return
        if body is not None:
            self._cache.see(body)


def pace_from_config() -> Pace:
    """Read the seconds between looks at the demand from ``kubernetes.controller.autoscaler``.

    Raises
    ------
    InvalidSetting
        With the key that is wrong.
    """
    return Pace(
        look_every=setting("autoscaler.interval", Pace.look_every, float),
        scheduler_retry=setting("scheduler.retry", Pace.scheduler_retry, float),
    )


def observe_autoscaler(cache: Cache, clock: Clock, key: Key) -> ObservedAutoscaler | None:
    """Gather what objects show of what an autoscaler's plan needs; None if there is no such autoscaler."""
    namespace = key.namespace
    autoscaler = next(iter(newest(cache.autoscalers.find(By("name", namespace, key.name)))), None)
    if autoscaler is None:
        return None
    cluster = cache.cluster(namespace, autoscaler.cluster)
    scheduler = cache.scheduler(cluster)
    groups = newest(cache.groups.find(By("name", namespace, autoscaler.worker_group)))
    target = next(iter(groups), None)
    return ObservedAutoscaler(
        autoscaler=autoscaler,
        now=clock.now(),
        cluster=cluster,
        scheduler=scheduler,
        target=_with_pods(cache, target) if target is not None else None,
        others=tuple(
            _with_pods(cache, group)
            for group in cache.groups_of(namespace, autoscaler.cluster)
            if group.name != autoscaler.worker_group and not group.meta.is_deleting
        ),
        rivals=tuple(
            other
            for other in autoscalers_of(cache, namespace, autoscaler.cluster)
            if other.meta.uid != autoscaler.meta.uid and other.worker_group == autoscaler.worker_group
        ),
    )


def autoscalers_of(cache: Cache, namespace: str, cluster: str) -> tuple[Autoscaler, ...]:
    """Return the autoscalers that name a cluster."""
    return newest(cache.autoscalers.find(By("cluster", namespace, cluster)))


def autoscaler_keys(cache: Cache, facts: Any) -> Iterable[Key]:
    """Name the autoscalers that a change of an object concerns."""
    namespace = facts.meta.namespace
    match facts:
        case Cluster(name=cluster) | WorkerGroup(cluster=cluster):
            pass
        case Autoscaler(name=name, cluster=cluster):
            yield Key(AUTOSCALERS.kind, namespace, name)
        case Pod(meta=meta) if meta.labels.get(labels.COMPONENT) == labels.Component.SCHEDULER:
            cluster = meta.labels.get(labels.CLUSTER_NAME, "")
        case _:
            return
    for autoscaler in autoscalers_of(cache, namespace, cluster):
        yield Key(AUTOSCALERS.kind, namespace, autoscaler.name)


def _with_pods(cache: Cache, group: WorkerGroup) -> GroupOfWorkers:
    pods = newest(cache.pods.find(By("group", group.meta.namespace, group.name)))
    return GroupOfWorkers(group, tuple(pod for pod in pods if pod.meta.is_child_of(group.meta.uid)))
