"""One object's turn: observe, plan, carry out, write the status, say when to look again."""

from __future__ import annotations

from collections.abc import Iterable

from dask_k8s_controller.api import Api
from dask_k8s_controller.carry_out import Executor
from dask_k8s_controller.clock import Clock
from dask_k8s_controller.conditions import holds
from dask_k8s_controller.conversations import Conversations
from dask_k8s_controller.events import EventWriter, Notice, notices
from dask_k8s_controller.facts import Meta
from dask_k8s_controller.metrics import Metrics
from dask_k8s_controller.observed import Outcome
from dask_k8s_controller.plan import Delete, Plan
from dask_k8s_controller.plan_cluster import plan_cluster
from dask_k8s_controller.plan_group import plan_group
from dask_k8s_controller.queue import Key, Requeue
from dask_k8s_controller.resources import CLUSTERS, GROUPS, Resource
from dask_k8s_controller.settings import Settings
from dask_k8s_controller.specs import Cluster
from dask_k8s_controller.status import WAITING, cluster_status, created_status, group_status
from dask_k8s_controller.status_writer import StatusWriter, Written
from dask_k8s_controller.world import World


class Reconciler:
    """Gives objects their turns.

    Parameters
    ----------
    world : World
        What is known.
    api : Api
        Where it is changed.
    conversations : Conversations
        Where schedulers are asked.
    clock : Clock
        Time.
    settings : Settings
        Choices.
    events : EventWriter
        Tells users what has changed.
    metrics : Metrics
        Counts.
    """

    def __init__(
        self,
        world: World,
        api: Api,
        conversations: Conversations,
        clock: Clock,
        settings: Settings,
        events: EventWriter,
        metrics: Metrics,
    ) -> None:
        self._world = world
        self._conversations = conversations
        self._clock = clock
        self._policy = settings.policy
        self._executor = Executor(world, api, settings.writes_per_object)
        self._statuses = StatusWriter(world, api, clock, settings.status_interval)
        self._events = events
        self._metrics = metrics
        self._new_clusters: set[str] = set()

    async def reconcile(self, key: Key) -> Requeue:
        """Bring an object a step closer to what it should be."""
        match key.kind:
            case "DaskCluster":
                return await self._reconcile_cluster(key)
            case "DaskWorkerGroup":
                return await self._reconcile_group(key)
        return Requeue.on_change()

    def forget(self, uid: str) -> None:
        """Drop what is remembered of an object that is gone."""
        self._statuses.forget(uid)
        self._new_clusters.discard(uid)
        self._world.forget_group(uid)

    async def _reconcile_cluster(self, key: Key) -> Requeue:
        observed = self._world.observe_cluster(key)
        if observed is None or observed.cluster.meta.is_going:
            return Requeue.on_change()
        meta, present = observed.cluster.meta, observed.cluster.status
        if not present.get("phase"):
            # Before anything else: it tells clients that a controller acts.
            self._new_clusters.add(meta.uid)
            await self._statuses.write(key, meta, created_status(observed), present)
            observed = self._world.observe_cluster(key) or observed
        plan = plan_cluster(observed, self._policy)
        outcome = await self._executor.carry_out(key, meta.uid, plan.actions)
        self._ask(key, meta, plan, observed.cluster)
        for action in plan.actions:
            if isinstance(action, Delete) and action.uid == meta.uid:
                self._tell(CLUSTERS, meta, [Notice("IdleTimeout", f"Deleting the cluster: {action.why}.")])
        after = self._world.observe_cluster(key)
        if after is None or after.cluster.meta.is_going:
            return Requeue.on_change()
        status = cluster_status(after, plan, outcome)
        written = await self._statuses.write(key, meta, status, after.cluster.status)
        if written.is_done:
            self._tell(CLUSTERS, meta, notices(after.cluster.status, status))
        if meta.uid in self._new_clusters and holds(status, "Ready", meta.generation):
            self._new_clusters.discard(meta.uid)
            self._metrics.cluster_started(meta.created, self._clock.now())
        return self._requeue(plan, outcome, written)

    async def _reconcile_group(self, key: Key) -> Requeue:
        observed = self._world.observe_group(key)
        if observed is None or observed.group.meta.is_going:
            return Requeue.on_change()
        meta = observed.group.meta
        plan = plan_group(observed, self._policy)
        outcome = await self._executor.carry_out(key, meta.uid, plan.actions)
        if observed.cluster is not None:
            self._ask(key, meta, plan, observed.cluster)
        after = self._world.observe_group(key)
        if after is None or after.group.meta.is_going:
            return Requeue.on_change()
        status = group_status(after, plan, outcome)
        written = await self._statuses.write(key, meta, status, after.group.status)
        if written.is_done:
            # A group that grows is not ready for a while: no reason to warn.
            news = notices(after.group.status, status)
            self._tell(GROUPS, meta, (one for one in news if one.is_warning and one.reason != WAITING))
        return self._requeue(plan, outcome, written)

    def _tell(self, resource: Resource, meta: Meta, news: Iterable[Notice]) -> None:
        for notice in news:
            self._events.say(resource, meta, notice)

    def _ask(self, key: Key, meta: Meta, plan: Plan, cluster: Cluster) -> None:
        endpoint = self._world.endpoint(cluster)
        if endpoint is not None:
            for question in plan.questions:
                self._conversations.ask(question, endpoint, key, meta.uid)

    def _requeue(self, plan: Plan, outcome: Outcome, written: Written) -> Requeue:
        waits = [written.later] if written.later is not None else []
        if plan.look_again is not None:
            waits.append(max(0.0, (plan.look_again - self._clock.now()).total_seconds()))
        has_failed = written.has_failed or not outcome.is_complete
        return Requeue(min(waits, default=None), has_failed)
