"""What is the case now, for Prometheus: counted from the cache and the queue whenever metrics are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from dask_k8s_controller.cache.cache import Cache
from dask_k8s_controller.kubernetes.resources import AUTOSCALERS, CLUSTERS, GROUPS, JOBS, NODES
from dask_k8s_controller.runtime.metrics import Metrics
from dask_k8s_controller.runtime.queue import WorkQueue

Count = Counter[tuple[str, ...]]

PHASES = ("Created", "Pending", "Running", "Error")
KINDS = (CLUSTERS.kind, GROUPS.kind, JOBS.kind, AUTOSCALERS.kind)


def add_gauges(metrics: Metrics, cache: Cache, queue: WorkQueue) -> None:
    """Add gauges of the queue, and of the objects that the cache has.

    Parameters
    ----------
    metrics : Metrics
        Where to.
    cache : Cache
        The objects.
    queue : WorkQueue
        What waits; it is open while this replica leads.
    """
    metrics.read("queue_depth", "Objects that wait to be reconciled.", values=lambda: {(): queue.depth})
    metrics.read(
        "queue_longest_wait_seconds",
        "How long the object that has waited for longest has waited.",
        values=lambda: {(): queue.longest_wait},
    )
    metrics.read(
        "leader", "Whether this replica is the one that acts.", values=lambda: {(): float(queue.is_open)}
    )
    metrics.read("clusters", "DaskClusters by phase.", "phase", values=lambda: clusters_by_phase(cache))
    metrics.read(
        "stalled_objects",
        "Objects that wait for a person, by their condition Stalled.",
        "kind",
        values=lambda: stalled_by_kind(cache),
    )
    metrics.read(
        "nodes_seen",
        "Nodes that the controller sees: none where it may not list them.",
        values=lambda: {(): len(cache.store(NODES.kind))},
    )
    metrics.read(
        "workers_wanted",
        "Workers that groups ask for.",
        "namespace",
        values=lambda: workers_by_namespace(cache, "wanted"),
    )
    metrics.read(
        "workers_ready",
        "Workers that are ready.",
        "namespace",
        values=lambda: workers_by_namespace(cache, "ready"),
    )


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
