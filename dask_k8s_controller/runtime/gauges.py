"""What is the case now, for Prometheus: counted from the cache and the queue whenever metrics are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from dask_k8s_controller.cache.cache import Cache
from dask_k8s_controller.kubernetes.resources import AUTOSCALERS, CLUSTERS, GROUPS, JOBS, NODES
from dask_k8s_controller.runtime.metrics import PREFIX
from dask_k8s_controller.runtime.queue import WorkQueue

Count = Counter[tuple[str, ...]]

PHASES = ("Created", "Pending", "Running", "Error")
KINDS = (CLUSTERS.kind, GROUPS.kind, JOBS.kind, AUTOSCALERS.kind)


@dataclass(eq=False)
class Gauges(Collector):
    """Gauges of the queue, and of the objects that the cache has."""

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
        yield _gauge("clusters", "DaskClusters by phase.", clusters_by_phase(cache), "phase")
        stalled = "Objects that wait for a person, by their condition Stalled."
        yield _gauge("stalled_objects", stalled, stalled_by_kind(cache), "kind")
        nodes = "Nodes that the controller sees: none where it may not list them."
        yield _gauge("nodes_seen", nodes, len(cache.store(NODES.kind)))
        wanted, ready = workers_by_namespace(cache, "wanted"), workers_by_namespace(cache, "ready")
        yield _gauge("workers_wanted", "Workers that groups ask for.", wanted, "namespace")
        yield _gauge("workers_ready", "Workers that are ready.", ready, "namespace")


def _gauge(name: str, meaning: str, values: float | Count, *labels: str) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"{PREFIX}_{name}", meaning, labels=labels)
    for of_labels, value in (values if isinstance(values, Counter) else {(): values}).items():
        family.add_metric(of_labels, value)
    return family


def clusters_by_phase(cache: Cache) -> Count:
    """Return how many clusters are in each phase; one that has none is none that was acted upon."""
    found: Count = Counter({(phase,): 0 for phase in PHASES})
    found.update((cluster.status.get("phase") or "Created",) for cluster in _live(cache, CLUSTERS.kind))
    return found


def stalled_by_kind(cache: Cache) -> Count:
    """Return how many objects of each kind wait for a person."""
    found: Count = Counter({(kind,): 0 for kind in KINDS})
    for kind in KINDS:
        for item in _live(cache, kind):
            conditions = item.status.get("conditions") or ()
            stalled = any(one["type"] == "Stalled" and one["status"] == "True" for one in conditions)
            found[kind,] += stalled
    return found


def workers_by_namespace(cache: Cache, what: str) -> Count:
    """Return how many workers are wanted, or ready, in each namespace that has groups."""
    found: Count = Counter()
    for group in _live(cache, GROUPS.kind):
        ready = group.status.get("readyReplicas") or 0
        found[group.meta.namespace,] += group.replicas if what == "wanted" else ready
    return found


def _live(cache: Cache, kind: str) -> Iterable[Any]:
    return (item for item in cache.store(kind) if not item.meta.is_deleting)
