"""The controller as a whole: its parts put together, started and stopped, and told of what happens."""

from __future__ import annotations

import logging
from typing import Any

from dask_k8s_controller.autoscaler.kind import AUTOSCALER
from dask_k8s_controller.cache.cache import Cache
from dask_k8s_controller.cache.store import Change
from dask_k8s_controller.cluster.kind import CLUSTER
from dask_k8s_controller.job.kind import JOB
from dask_k8s_controller.kubernetes.api import Api
from dask_k8s_controller.kubernetes.connection import Connection, log_in
from dask_k8s_controller.kubernetes.executor import Executor
from dask_k8s_controller.kubernetes.recorder import EventRecorder
from dask_k8s_controller.kubernetes.resources import PODS, WATCHED, Key
from dask_k8s_controller.kubernetes.status_writer import StatusWriter
from dask_k8s_controller.plans.kind import Kind
from dask_k8s_controller.runtime.clock import Clock, RealClock, Timer
from dask_k8s_controller.runtime.health import HealthServer
from dask_k8s_controller.runtime.lease import LeaderLease, limits
from dask_k8s_controller.runtime.metrics import Gauges, LoopLag, Metrics
from dask_k8s_controller.runtime.queue import Requeue, WorkQueue
from dask_k8s_controller.runtime.reconciler import Reconciler
from dask_k8s_controller.scheduler.client import SchedulerClient
from dask_k8s_controller.scheduler.conversations import Conversations
from dask_k8s_controller.settings import LeaderElection, Limits, Settings
from dask_k8s_controller.watching.informer import Informer
from dask_k8s_controller.watching.watches import Watches
from dask_k8s_controller.worker_group.kind import WORKER_GROUP
from dask_k8s_models.autoscaler import AutoscalerSpec
from dask_k8s_models.cluster import ClusterSpec
from dask_k8s_models.job import JobSpec
from dask_k8s_models.worker_group import WorkerGroupSpec

logger = logging.getLogger(__name__)

UNSYNCED_RETRY = 10.0
"""Seconds before an object is looked at again whose namespace can't be seen."""

SWEEP_EVERY = 60.0
"""Seconds between looks for what is remembered of objects that are gone."""

KINDS: tuple[Kind[Any, Any], ...] = (CLUSTER, WORKER_GROUP, JOB, AUTOSCALER)
"""The kinds of objects that the controller reconciles."""


class Operator:
    """The controller without its watches, which kopf has; tests have clocks and schedulers of their own."""

    def __init__(
        self, settings: Settings, *, clock: Clock | None = None, schedulers: SchedulerClient | None = None
    ) -> None:
        self.settings = settings
        self.clock = clock or RealClock()
        self.metrics = Metrics()
        self.watches = Watches(WATCHED)
        self.api = self._api(settings.limits)
        self.schedulers = schedulers or SchedulerClient(self.api, settings.patience)
        self.conversations = Conversations(
            self.schedulers, self.clock, self._answered, on_question=self.metrics.question_done
        )
        self.cache = Cache(
            {kind.resource.kind: kind.object_type.of for kind in KINDS},
            self.clock,
            self.conversations,
            announcing=settings.leaving_taints,
        )
        self.recorder = EventRecorder(self.api, self.clock, settings.events)
        self.reconciler = Reconciler(
            {kind.resource.kind: kind for kind in KINDS},
            cache=self.cache,
            executor=Executor(self.cache, self.api, settings.writes_per_object),
            statuses=StatusWriter(self.cache, self.api, self.clock, settings.status_interval),
            recorder=self.recorder,
            conversations=self.conversations,
            metrics=self.metrics,
            policy=settings.policy,
        )
        self.cache.on_change = self._changed
        self.cache.on_gone = self._gone
        self.informer = Informer(self.cache, self.watches, self._listed)
        self.queue = WorkQueue(
            self._reconcile,
            clock=self.clock,
            concurrency=settings.concurrency,
            spacing=settings.spacing,
            backoff=settings.backoff,
            on_reconcile=self.metrics.reconcile_done,
        )
        self.metrics.registry.register(Gauges(self.cache, self.queue))
        self.health = HealthServer(settings, self.queue, self.metrics, self.watches)
        self.loop_lag = LoopLag(self.clock, self.metrics.loop_lag_seconds.observe)
        self._lease: LeaderLease | None = None
        self._sweeping: Timer | None = None
        self.trusts_env = False

    def _api(self, limits: Limits) -> Api:
        return Api(
            self.log_in,
            limits=limits,
            on_request=self.metrics.request_done,
            on_forbidden=self.metrics.request_forbidden,
        )

    async def start(self, taken_port: int | None = None) -> None:
        """Begin to act on what the watches show; the taken port is one that kopf is going to listen on."""
        # Otherwise the first object of each kind would keep the event loop busy for long.
        for spec in (ClusterSpec, WorkerGroupSpec, AutoscalerSpec, JobSpec):
            spec.model_rebuild()
        connection = await self.api.connection()
        self.cache.operator_namespace = connection.namespace if connection.in_cluster else ""
        await self.health.start(is_in_cluster=connection.in_cluster, taken_port=taken_port)
        self.loop_lag.start()
        self._sweep()
        if self.settings.leader_election.enabled:
            self._take_part(self.settings.leader_election, connection.namespace)
        else:
            self.queue.start()

    def _take_part(self, election: LeaderElection, namespace: str) -> None:
        """Act only while this replica holds the Lease."""
        self._lease = LeaderLease(
            self._api(limits(election)),
            self.clock,
            election,
            election.namespace or namespace,
            on_lead=self.queue.start,
            on_follow=self._follow,
        )
        self._lease.start()

    def _follow(self) -> None:
        """Give up all that is under way: another replica may act by now."""
        self.queue.pause()
        self.conversations.cancel()
        self.recorder.cancel()

    def _sweep(self) -> None:
        self._sweeping = self.clock.call_later(SWEEP_EVERY, self._sweep)
        self.reconciler.sweep()
        self.queue.sweep()

    async def stop(self) -> None:
        """Let reconciles finish, then stop."""
        await self.queue.stop(self.settings.stop_grace)
        if self._lease is not None:
            await self._lease.stop()
            await self._lease.api.close()
        await self.recorder.stop()
        await self.conversations.stop()
        self.loop_lag.stop()
        if self._sweeping is not None:
            self._sweeping.cancel()
        await self.health.stop()
        await self.schedulers.close()
        await self.api.close()

    async def log_in(self) -> Connection:
        """Open a session with the API server, with the credentials as they are now."""
        return await log_in(trust_env=self.trusts_env)

    async def _reconcile(self, key: Key) -> Requeue:
        if not self.watches.has_synced(key.namespace):
            # What can't be seen isn't missing.
            return Requeue(after=UNSYNCED_RETRY)
        return await self.reconciler.reconcile(key)

    def _gone(self, gone: Any) -> None:
        self.reconciler.forget(gone.meta.uid)
        if gone.kind == PODS.kind and gone.meta.owner is not None:
            self.conversations.forget_pod(gone.meta.owner.uid, gone.meta.uid)
        self._changed(Change(gone, None), None)

    def _changed(self, change: Change[Any], by: object) -> None:
        """Reconcile what depends on an object."""
        now, before = change
        # What else has changed, unheard of before our own write, calls for a reconcile.
        is_known = by is not None and not now.differs(before)
        for kind in KINDS:
            for key in kind.keys(self.cache, now, before):
                if not (is_known and key == by):
                    self.queue.add(key)

    def _listed(self, namespace: str | None) -> None:
        """Reconcile all there is: much may have changed that no event tells of."""
        for kind in KINDS:
            for item in self.cache.store(kind.resource.kind):
                if namespace in (None, item.meta.namespace):
                    self.queue.add(Key(item.kind, item.meta.namespace, item.meta.name))

    def _answered(self, key: Key) -> None:
        self.queue.add(key)
        for other in self.reconciler.kinds[key.kind].concerned(self.cache, key):
            self.queue.add(other)
