"""An autoscaler's turn, and what gives it one."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from dask_k8s_controller.api import Api
from dask_k8s_controller.autoscaler_demand import Demands
from dask_k8s_controller.autoscaler_observed import GroupOfWorkers, ObservedAutoscaler
from dask_k8s_controller.autoscaler_status import autoscaler_status
from dask_k8s_controller.carry_out import Executor
from dask_k8s_controller.clock import Clock
from dask_k8s_controller.conversations import Conversations
from dask_k8s_controller.errors import ApiError, Conflict, Refused
from dask_k8s_controller.events import EventWriter, Notice, notices
from dask_k8s_controller.facts import Pod
from dask_k8s_controller.job_reconcile import next_turn
from dask_k8s_controller.observed import Failure, Outcome
from dask_k8s_controller.plan_autoscaler import AutoscalerPlan, Pace, Scale, plan_autoscaler
from dask_k8s_controller.queue import Key, Requeue
from dask_k8s_controller.resources import AUTOSCALERS, GROUPS
from dask_k8s_controller.settings import Settings, setting
from dask_k8s_controller.specs import Autoscaler, Cluster, WorkerGroup
from dask_k8s_controller.status_writer import StatusWriter
from dask_k8s_controller.world import By, World, newest
from dask_k8s_models import labels

logger = logging.getLogger(__name__)


class AutoscalerReconciler:
    """Gives autoscalers their turns.

    Parameters
    ----------
    world : World
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
    events : EventWriter
        Where changes of the number of workers are told.
    pace : Pace, optional
        How long to wait for what; by default as Dask's configuration says.
    """

    def __init__(
        self,
        world: World,
        api: Api,
        conversations: Conversations,
        demands: Demands,
        clock: Clock,
        settings: Settings,
        events: EventWriter,
        pace: Pace | None = None,
    ) -> None:
        self._events = events
        self._world = world
        self._api = api
        self._conversations = conversations
        self._demands = demands
        self._clock = clock
        self._pace = pace or pace_from_config()
        self._executor = Executor(world, api, settings.writes_per_object)
        self._statuses = StatusWriter(world, api, clock, settings.status_interval)

    async def reconcile(self, key: Key) -> Requeue:
        """Bring the number of workers a step closer to the demand."""
        observed = self._observe(key)
        if observed is None or observed.autoscaler.meta.is_going:
            return Requeue.on_change()
        meta = observed.autoscaler.meta
        planned = plan_autoscaler(observed, self._pace)
        outcome = await self._executor.carry_out(key, meta.uid, planned.plan.actions)
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
            self._events.say(AUTOSCALERS, meta, Notice("SuccessfulRescale", message))
        if written.is_done:
            for notice in notices(observed.autoscaler.status, status):
                if notice.is_warning:
                    self._events.say(AUTOSCALERS, meta, notice)
        return next_turn(planned.plan, outcome, written, self._clock.now())

    def forget(self, uid: str) -> None:
        """Drop what is remembered of an autoscaler that is gone."""
        self._statuses.forget(uid)

    def _observe(self, key: Key) -> ObservedAutoscaler | None:
        observed = observe_autoscaler(self._world, self._clock, key)
        if observed is None or observed.scheduler is None:
            return observed
        uid = observed.scheduler.meta.uid
        return replace(observed, demand=self._demands.demand(uid), workers=self._conversations.workers(uid))

    def _ask(self, key: Key, observed: ObservedAutoscaler, planned: AutoscalerPlan) -> None:
        endpoint = self._world.endpoint(observed.cluster) if observed.cluster is not None else None
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
            self._world.see(body)


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


def observe_autoscaler(world: World, clock: Clock, key: Key) -> ObservedAutoscaler | None:
    """Gather what objects show of what an autoscaler's plan needs; None if there is no such autoscaler."""
    namespace = key.namespace
    autoscaler = next(iter(newest(world.autoscalers.find(By("name", namespace, key.name)))), None)
    if autoscaler is None:
        return None
    cluster = world.cluster(namespace, autoscaler.cluster)
    scheduler = world.scheduler(cluster)
    groups = newest(world.groups.find(By("name", namespace, autoscaler.worker_group)))
    target = next(iter(groups), None)
    return ObservedAutoscaler(
        autoscaler=autoscaler,
        now=clock.now(),
        cluster=cluster,
        scheduler=scheduler,
        target=_with_pods(world, target) if target is not None else None,
        others=tuple(
            _with_pods(world, group)
            for group in world.groups_of(namespace, autoscaler.cluster)
            if group.name != autoscaler.worker_group and not group.meta.is_going
        ),
        rivals=tuple(
            other
            for other in autoscalers_of(world, namespace, autoscaler.cluster)
            if other.meta.uid != autoscaler.meta.uid and other.worker_group == autoscaler.worker_group
        ),
    )


def autoscalers_of(world: World, namespace: str, cluster: str) -> tuple[Autoscaler, ...]:
    """Return the autoscalers that name a cluster."""
    return newest(world.autoscalers.find(By("cluster", namespace, cluster)))


def autoscaler_keys(world: World, facts: Any) -> Iterable[Key]:
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
    for autoscaler in autoscalers_of(world, namespace, cluster):
        yield Key(AUTOSCALERS.kind, namespace, autoscaler.name)


def _with_pods(world: World, group: WorkerGroup) -> GroupOfWorkers:
    pods = newest(world.pods.find(By("group", group.meta.namespace, group.name)))
    return GroupOfWorkers(group, tuple(pod for pod in pods if pod.meta.is_child_of(group.meta.uid)))
