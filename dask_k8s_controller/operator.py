"""The controller as a whole: its parts put together, started and stopped, and told of what happens."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any

import kopf

from dask_k8s_controller.autoscaler.demand import Demands
from dask_k8s_controller.autoscaler.reconcile import AutoscalerReconciler, autoscaler_keys
from dask_k8s_controller.autoscaler.spec import Autoscaler
from dask_k8s_controller.cache.cache import Cache
from dask_k8s_controller.cache.objects import Pod, Service
from dask_k8s_controller.cluster.spec import Cluster
from dask_k8s_controller.job.reconcile import JobReconciler, job_keys
from dask_k8s_controller.job.spec import Job
from dask_k8s_controller.kubernetes.api import Api, Limits
from dask_k8s_controller.kubernetes.connection import Connection, Credentials, find_credentials
from dask_k8s_controller.kubernetes.errors import ApiError
from dask_k8s_controller.kubernetes.recorder import EventRecorder
from dask_k8s_controller.kubernetes.resources import (
    AUTOSCALERS,
    CLUSTERS,
    GROUPS,
    JOBS,
    PODS,
    SERVICES,
    Key,
)
from dask_k8s_controller.reconciler import Reconciler
from dask_k8s_controller.runtime.clock import Clock, RealClock
from dask_k8s_controller.runtime.health import HealthServer
from dask_k8s_controller.runtime.lease import LeaderLease
from dask_k8s_controller.runtime.loop_lag import LoopLag
from dask_k8s_controller.runtime.metrics import Metrics
from dask_k8s_controller.runtime.queue import Requeue, WorkQueue
from dask_k8s_controller.scheduler.client import SchedulerClient
from dask_k8s_controller.scheduler.conversations import Conversations, Schedulers
from dask_k8s_controller.settings import LeaderElection, Settings
from dask_k8s_controller.watching.relists import Listing, RelistMonitor
from dask_k8s_controller.worker_group.spec import WorkerGroup
from dask_k8s_models import labels
from dask_k8s_models.autoscaler import AutoscalerSpec
from dask_k8s_models.cluster import ClusterSpec
from dask_k8s_models.job import JobSpec
from dask_k8s_models.worker_group import WorkerGroupSpec

logger = logging.getLogger(__name__)

WATCHED = (CLUSTERS, GROUPS, JOBS, AUTOSCALERS, PODS, SERVICES)


class Operator:
    """The controller without its watches, which kopf has.

    Parameters
    ----------
    settings : Settings
        Choices of whoever runs it.
    clock : Clock, optional
        Time.
    schedulers : Schedulers, optional
        How schedulers are asked; by HTTP if it is left out.
    """

    def __init__(
        self, settings: Settings, *, clock: Clock | None = None, schedulers: Schedulers | None = None
    ) -> None:
        self.settings = settings
        self.clock = clock or RealClock()
        self.metrics = Metrics()
        self.relists = RelistMonitor(WATCHED, self._verify)
        self.api = Api(self._log_in, limits=settings.limits, on_request=self.metrics.request_done)
        self.schedulers: Schedulers = schedulers or SchedulerClient(self.api, settings.patience)
        self.conversations = Conversations(self.schedulers, self.clock, self._answered)
        self.cache = Cache(self.clock, self.conversations)
        self.events = EventRecorder(self.api, self.clock, settings.events)
        self.reconciler = Reconciler(
            self.cache, self.api, self.conversations, self.clock, settings, self.events, self.metrics
        )
        self.demands = Demands(self.schedulers, self.clock, self._answered)
        self.jobs = JobReconciler(self.cache, self.api, self.clock, settings, self.events)
        self.autoscalers = AutoscalerReconciler(
            self.cache, self.api, self.conversations, self.demands, self.clock, settings, self.events
        )
        self.queue = WorkQueue(
            self._reconcile,
            clock=self.clock,
            concurrency=settings.turns,
            spacing=settings.spacing,
            backoff=settings.backoff,
            on_reconcile=self.metrics.reconcile_done,
        )
        self.health = HealthServer(settings, self.queue, self.metrics, self.relists)
        self.loop_lag = LoopLag(self.clock, self.metrics.loop_lag_seconds.observe)
        self._lease: LeaderLease | None = None
        self._lease_api: Api | None = None
        self._kopf_settings: kopf.OperatorSettings | None = None

    async def start(self, kopf_settings: kopf.OperatorSettings, taken_port: int | None = None) -> None:
        """Begin to act on what the watches show.

        Parameters
        ----------
        kopf_settings : kopf.OperatorSettings
            For the credentials.
        taken_port : int, optional
            A port that kopf itself is going to listen on.
        """
        self._kopf_settings = kopf_settings
        # Otherwise the first object of each kind would keep the event loop busy for long.
        for spec in (ClusterSpec, WorkerGroupSpec, AutoscalerSpec, JobSpec):
            spec.model_rebuild()
        connection = await self.api.connection()
        await self.health.start(is_in_cluster=connection.in_cluster, taken_port=taken_port)
        self.loop_lag.start()
        if self.settings.leader_election.enabled:
            self._take_part(self.settings.leader_election, connection.namespace)
        else:
            self.queue.start()

    def _take_part(self, election: LeaderElection, namespace: str) -> None:
        """Act only while this replica holds the Lease."""
        limits = Limits(concurrency=1, timeout=election.renewal, attempts=1)
        self._lease_api = Api(self._log_in, limits=limits, on_request=self.metrics.request_done)
        self._lease = LeaderLease(
            self._lease_api,
            self.clock,
            election,
            election.namespace or namespace,
            on_lead=self.queue.start,
            on_follow=self.queue.pause,
        )
        self._lease.start()

    async def stop(self) -> None:
        """Let turns finish, then stop."""
        await self.queue.stop(self.settings.stop_grace)
        if self._lease is not None and self._lease_api is not None:
            await self._lease.stop()
            await self._lease_api.close()
        await self.events.stop()
        await self.conversations.stop()
        await self.demands.stop()
        await self.relists.stop()
        self.loop_lag.stop()
        await self.health.stop()
        await self.schedulers.close()
        await self.api.close()

    def credentials(self) -> Credentials:
        """Read the credentials of the API server anew."""
        return find_credentials(self._kopf_settings)

    def seen(self, body: Mapping[str, Any]) -> None:
        """Take note of an object that a watch shows."""
        self.cache.see(body)

    def changed(self, kind: str, event: str | None, body: Mapping[str, Any]) -> None:
        """Give what depends on an object its turn."""
        metadata = body["metadata"]
        uid = metadata.get("uid") or ""
        if event == "DELETED":
            facts = self.cache.store(kind).forget(uid)
            if facts is not None:
                self._gone(facts)
        else:
            facts = next((found for found in self.cache.named(kind, metadata) if found.meta.uid == uid), None)
        if facts is not None:
            self._enqueue(facts)

    def _gone(self, facts: Any) -> None:
        match facts:
            case Pod(meta=meta):
                self.conversations.forget(meta.uid)
                self.demands.forget(meta.uid)
                if meta.owner is not None:
                    self.conversations.forget_pod(meta.owner.uid, meta.uid)
            case Cluster() | WorkerGroup():
                self.reconciler.forget(facts.meta.uid)
            case Job():
                self.jobs.forget(facts.meta.uid)
            case Autoscaler():
                self.autoscalers.forget(facts.meta.uid)

    def _enqueue(self, facts: Any) -> None:
        keys = (
            *self._keys_of(facts),
            *job_keys(self.cache, facts),
            *autoscaler_keys(self.cache, facts),
        )
        for key in keys:
            self.queue.add(key)

    def _keys_of(self, facts: Any) -> Iterable[Key]:
        namespace = facts.meta.namespace
        match facts:
            case Cluster(name=name):
                yield Key(CLUSTERS.kind, namespace, name)
                yield from self._group_keys(namespace, name)
            case WorkerGroup(name=name, cluster=cluster):
                yield Key(GROUPS.kind, namespace, name)
                yield Key(CLUSTERS.kind, namespace, cluster)
            case Autoscaler(cluster=cluster):
                yield Key(CLUSTERS.kind, namespace, cluster)
            case Pod(meta=meta) | Service(meta=meta):
                cluster = meta.labels.get(labels.CLUSTER_NAME, "")
                match meta.labels.get(labels.COMPONENT):
                    case labels.Component.SCHEDULER:
                        yield Key(CLUSTERS.kind, namespace, cluster)
                        if isinstance(facts, Pod):
                            yield from self._group_keys(namespace, cluster)
                    case labels.Component.WORKER:
                        group = meta.labels.get(labels.WORKER_GROUP_NAME, "")
                        yield Key(GROUPS.kind, namespace, group)

    def _group_keys(self, namespace: str, cluster: str) -> Iterable[Key]:
        for group in self.cache.groups_of(namespace, cluster):
            yield Key(GROUPS.kind, namespace, group.name)

    async def _reconcile(self, key: Key) -> Requeue:
        match key.kind:
            case JOBS.kind:
                return await self.jobs.reconcile(key)
            case AUTOSCALERS.kind:
                return await self.autoscalers.reconcile(key)
        return await self.reconciler.reconcile(key)

    def _answered(self, key: Key) -> None:
        self.queue.add(key)

    async def _log_in(self) -> Connection:
        return self.credentials().connect()

    async def _verify(self, listing: Listing) -> None:
        """Find out what has gone while a watch was interrupted: kopf, listing anew, doesn't tell."""
        await asyncio.sleep(1.0)
        try:
            found = await self.api.list(listing.resource, listing.namespace, listing.label_selector)
        except ApiError as error:
            logger.warning("Could not list %s anew: %s", listing.resource.plural, error)
            self.relists.again(listing)
            return
        for item in found.get("items") or ():
            self.cache.see({"kind": listing.resource.kind, **item})
        gone = self.cache.store(listing.resource.kind).replace_all(
            (item["metadata"]["uid"] for item in found.get("items") or ()),
            str(found.get("metadata", {}).get("resourceVersion") or ""),
            lambda facts: listing.namespace in (None, facts.meta.namespace),
        )
        for facts in gone:
            self._gone(facts)
            self._enqueue(facts)
