"""One object's turn: observe, plan, carry out, write the status, say when to look again."""

from __future__ import annotations

from collections.abc import Iterable

from dask_k8s_controller.cache.cache import Cache
from dask_k8s_controller.cache.objects import Meta
from dask_k8s_controller.cluster.plan import plan_cluster
from dask_k8s_controller.cluster.spec import Cluster
from dask_k8s_controller.cluster.status import cluster_status, created_status
from dask_k8s_controller.kubernetes.api import Api
from dask_k8s_controller.kubernetes.executor import Executor
from dask_k8s_controller.kubernetes.recorder import EventRecorder, Notice, notices
from dask_k8s_controller.kubernetes.resources import CLUSTERS, GROUPS, Key, Resource
from dask_k8s_controller.kubernetes.status_writer import StatusWriter, Written
from dask_k8s_controller.plans.actions import Delete, Outcome, Plan
from dask_k8s_controller.plans.conditions import WAITING, holds
from dask_k8s_controller.runtime.clock import Clock
from dask_k8s_controller.runtime.metrics import Metrics
from dask_k8s_controller.runtime.queue import Requeue
from dask_k8s_controller.scheduler.conversations import Conversations
from dask_k8s_controller.settings import Settings
from dask_k8s_controller.worker_group.plan import plan_group
from dask_k8s_controller.worker_group.status import group_status


class Reconciler:
    """Gives objects their turns.

    Parameters
    ----------
    cache : Cache
        What is known.
    api : Api
        Where it is changed.
    conversations : Conversations
        Where schedulers are asked.
    clock : Clock
        Time.
    settings : Settings
        Choices.
    events : EventRecorder
        Tells users what has changed.
    metrics : Metrics
        Counts.
    """

    def __init__(
        self,
        cache: Cache,
        api: Api,
        conversations: Conversations,
        clock: Clock,
        settings: Settings,
        events: EventRecorder,
        metrics: Metrics,
    ) -> None:
        self._cache = cache
        self._conversations = conversations
        self._clock = clock
        self._policy = settings.policy
        self._executor = Executor(cache, api, settings.writes_per_object)
        self._statuses = StatusWriter(cache, api, clock, settings.status_interval)
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
        self._cache.forget_group(uid)

    async def _reconcile_cluster(self, key: Key) -> Requeue:
        observed = self._cache.observe_cluster(key)
        if observed is None or observed.cluster.meta.is_deleting:
            return Requeue.on_change()
        meta, present = observed.cluster.meta, observed.cluster.status
        if not present.get("phase"):
            # Before anything else: it tells clients that a controller acts.
            self._new_clusters.add(meta.uid)
            await self._statuses.write(key, meta, created_status(observed), present)
            observed = self._cache.observe_cluster(key) or observed
        plan = plan_cluster(observed, self._policy)
        outcome = await self._executor.execute(key, meta.uid, plan.actions)
        self._ask(key, meta, plan, observed.cluster)
        for action in plan.actions:
            if isinstance(action, Delete) and action.uid == meta.uid:
                self._record(CLUSTERS, meta, [Notice("IdleTimeout", f"Deleting the cluster: {action.why}.")])
        after = self._cache.observe_cluster(key)
        if after is None or after.cluster.meta.is_deleting:
            return Requeue.on_change()
        status = cluster_status(after, plan, outcome)
        written = await self._statuses.write(key, meta, status, after.cluster.status)
        if written.is_done:
            self._record(CLUSTERS, meta, notices(after.cluster.status, status))
        if meta.uid in self._new_clusters and holds(status, "Ready", meta.generation):
            self._new_clusters.discard(meta.uid)
            self._metrics.cluster_started(meta.created, self._clock.now())
        return self._requeue(plan, outcome, written)

    async def _reconcile_group(self, key: Key) -> Requeue:
        observed = self._cache.observe_group(key)
        if observed is None or observed.group.meta.is_deleting:
            return Requeue.on_change()
        meta = observed.group.meta
        plan = plan_group(observed, self._policy)
        outcome = await self._executor.execute(key, meta.uid, plan.actions)
        if observed.cluster is not None:
            self._ask(key, meta, plan, observed.cluster)
        after = self._cache.observe_group(key)
        if after is None or after.group.meta.is_deleting:
            return Requeue.on_change()
        status = group_status(after, plan, outcome)
        written = await self._statuses.write(key, meta, status, after.group.status)
        if written.is_done:
            # A group that grows is not ready for a while: no reason to warn.
            news = notices(after.group.status, status)
            self._record(GROUPS, meta, (one for one in news if one.is_warning and one.reason != WAITING))
        return self._requeue(plan, outcome, written)

    def _record(self, resource: Resource, meta: Meta, news: Iterable[Notice]) -> None:
        for notice in news:
            self._events.record(resource, meta, notice)

    def _ask(self, key: Key, meta: Meta, plan: Plan, cluster: Cluster) -> None:
        endpoint = self._cache.endpoint(cluster)
        if endpoint is not None:
            for question in plan.questions:
                self._conversations.ask(question, endpoint, key, meta.uid)

    def _requeue(self, plan: Plan, outcome: Outcome, written: Written) -> Requeue:
        waits = [written.later] if written.later is not None else []
        if plan.requeue_at is not None:
            waits.append(max(0.0, (plan.requeue_at - self._clock.now()).total_seconds()))
        if outcome.requeue_after is not None:
            waits.append(outcome.requeue_after)
        has_failed = written.has_failed or not outcome.is_complete
        return Requeue(min(waits, default=None), has_failed)
