"""What Prometheus is told, as docs/monitoring.md lists it: https://prometheus.io/docs/practices/naming/."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import prometheus_client as prometheus
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from dask_k8s_controller.cache.cache import Cache
from dask_k8s_controller.cache.objects import By, Pod
from dask_k8s_controller.cluster.observe import count_gated, pods_of
from dask_k8s_controller.cluster.spec import Cluster
from dask_k8s_controller.kubernetes.resources import AUTOSCALERS, CLUSTERS, GROUPS, JOBS, NODES, Key
from dask_k8s_controller.runtime.clock import Clock, Timer
from dask_k8s_controller.runtime.queue import WorkQueue
from dask_k8s_controller.worker_group.spec import WorkerGroup
from dask_k8s_models.labels import Component

PREFIX = "dask_controller"

PHASES = ("Created", "Pending", "Running", "Error")
KINDS = (CLUSTERS.kind, GROUPS.kind, JOBS.kind, AUTOSCALERS.kind)

START_SECONDS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600)
LAG_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)

Count = Counter[tuple[str, ...]]


class Metrics:
    """The controller's metrics, in a registry of their own.

    Whatever is only counted has an attribute, which is called with the values of the labels.
    """

    content_type = prometheus.CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=self.registry)
        prometheus.GCCollector(registry=self.registry)
        self._reconciled = self._counter("reconciles", "Reconciles of objects.", "kind", "result")
        wrong = "What went wrong in reconciles, each of which is tried again."
        self.reconcile_failed = self._counter("reconcile_errors", wrong, "kind", "reason")
        requests = "Requests to the API server, without the watches."
        self.request_done = self._counter("api_requests", requests, "verb", "kind", "code")
        forbidden = "Requests that the API server answered by 403, and by what: rights, quota, or admission."
        self.request_forbidden = self._counter("api_requests_forbidden", forbidden, "verb", "kind", "by")
        questions = "Questions to schedulers, and what came of them."
        self.question_done = self._counter("scheduler_questions", questions, "question", "outcome")
        self._reconcile_seconds = self._histogram(
            "reconcile_seconds", "Duration of reconciles.", prometheus.Histogram.DEFAULT_BUCKETS, "kind"
        )
        start = "Until a DaskCluster is Ready for the first time: from its creation, or when it was let in."
        self._start_seconds = self._histogram("cluster_start_seconds", start, START_SECONDS)
        lag = "How late the event loop is: everything that is due waits as long."
        self.loop_lag_seconds = self._histogram("loop_lag_seconds", lag, LAG_SECONDS)

    def _counter(self, name: str, meaning: str, *labels: str) -> Callable[..., None]:
        counter = prometheus.Counter(f"{PREFIX}_{name}", meaning, labels, registry=self.registry)
        return lambda *values: counter.labels(*values).inc()

    def _histogram(
        self, name: str, meaning: str, buckets: Sequence[float], *labels: str
    ) -> prometheus.Histogram:
        return prometheus.Histogram(
            f"{PREFIX}_{name}", meaning, labels, buckets=buckets, registry=self.registry
        )

    def reconcile_done(self, key: Key, seconds: float, failed: bool) -> None:
        """Count a reconcile."""
        self._reconciled(key.kind, "error" if failed else "success")
        self._reconcile_seconds.labels(key.kind).observe(seconds)

    def became_ready(self, kind: str, since: datetime, now: datetime) -> None:
        """Note that an object has become ready for the first time, and since when it was starting."""
        if kind == CLUSTERS.kind:
            self._start_seconds.observe(max(0.0, (now - since).total_seconds()))

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return prometheus.generate_latest(self.registry)


@dataclass(eq=False)
class Gauges(Collector):
    """What is the case now: counted from the cache and the queue whenever metrics are read."""

    cache: Cache
    queue: WorkQueue
    """What waits; it is open while this replica leads."""

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Yield what is the case now."""
        queue, cache = self.queue, self.cache
        yield _gauge("queue_depth", "Objects that wait to be reconciled.", queue.depth)
        wait = "How long the object that has waited for longest has waited."
        yield _gauge("queue_longest_wait_seconds", wait, queue.longest_wait)
        yield _gauge("leader", "Whether this replica is the one that acts.", float(queue.is_open))
        yield _gauge("clusters", "DaskClusters by phase.", _clusters_by_phase(cache), "phase")
        stalled = "Objects that wait for a person, by their condition Stalled."
        yield _gauge("stalled_objects", stalled, _stalled_by_kind(cache), "kind")
        nodes = "Nodes that the controller sees: none where it may not list them."
        yield _gauge("nodes_seen", nodes, len(cache.store(NODES.kind)))
        wanted, ready, gated = _workers_by_namespace(cache)
        asked = "Workers that groups ask for, unless their cluster is suspended."
        yield _gauge("workers_wanted", asked, wanted, "namespace")
        yield _gauge("workers_ready", "Workers that are ready.", ready, "namespace")
        held_back = "Workers that a queue has yet to let in: their pods, or their scheduler's, have gates."
        yield _gauge("workers_gated", held_back, gated, "namespace")


def _gauge(name: str, meaning: str, values: float | Count, *labels: str) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"{PREFIX}_{name}", meaning, labels=labels)
    for of_labels, value in (values if isinstance(values, Counter) else {(): values}).items():
        family.add_metric(of_labels, value)
    return family


def _clusters_by_phase(cache: Cache) -> Count:
    """Return how many clusters are in each phase; one that has none is none that was acted upon."""
    found: Count = Counter({(phase,): 0 for phase in PHASES})
    found.update((cluster.status.get("phase") or "Created",) for cluster in _live(cache, CLUSTERS.kind))
    return found


def _workers_by_namespace(cache: Cache) -> tuple[Count, Count, Count]:
    """Return how many workers are wanted, ready, and held back by a queue."""
    wanted: Count = Counter()
    ready: Count = Counter()
    gated: Count = Counter()
    for group in _live(cache, GROUPS.kind):
        namespace, cluster = group.meta.namespace, cache.get(Cluster, group.meta.namespace, group.cluster)
        replicas = 0 if cluster is not None and cluster.is_suspended else group.replicas
        at_work = group.status.get("readyReplicas") or 0
        wanted[namespace,] += replicas
        ready[namespace,] += at_work
        gated[namespace,] += min(max(0, replicas - at_work), _gated(cache, group))
    return wanted, ready, gated


def _gated(cache: Cache, group: WorkerGroup) -> int:
    """Return how many workers of a group have gates, which are all of them if their scheduler has."""
    namespace = group.meta.namespace
    schedulers = pods_of(namespace, group.cluster, Component.SCHEDULER)
    if cache.summary(Pod, count_gated, schedulers):
        return group.replicas
    return cache.summary(Pod, count_gated, By("group", namespace, group.name))


def _stalled_by_kind(cache: Cache) -> Count:
    return Counter({(kind,): sum(map(_is_stalled, _live(cache, kind))) for kind in KINDS})


def _is_stalled(item: Any) -> bool:
    conditions = item.status.get("conditions") or ()
    return any(one["type"] == "Stalled" and one["status"] == "True" for one in conditions)


def _live(cache: Cache, kind: str) -> Iterable[Any]:
    return (item for item in cache.store(kind) if not item.meta.is_deleting)


@dataclass
class LoopLag:
    """Measures, again and again, how late a scheduled call runs: whatever else is due waits as long."""

    clock: Clock
    observe: Callable[[float], None]
    """Called with each delay, in seconds."""
    interval: float = 0.05
    """Seconds between two calls; whatever holds the event loop up for longer is noticed."""
    _timer: Timer | None = field(default=None, init=False)

    def start(self) -> None:
        """Begin, in the running event loop."""
        due = self.clock.monotonic() + self.interval
        self._timer = self.clock.call_later(self.interval, lambda: self._called(due))

    def stop(self) -> None:
        """Stop measuring."""
        if self._timer is not None:
            self._timer.cancel()

    def _called(self, due: float) -> None:
        self.observe(max(0.0, self.clock.monotonic() - due))
        self.start()
