"""What is seen of one cluster: nothing of others, and nothing that changes while somebody reads it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dask_k8s_client import startup
from dask_k8s_client.api import Api
from dask_k8s_client.cluster import KubeCluster
from dask_k8s_client.observe import Observer
from tests.unit.client.objects import READY, cluster, group, scheduler_pod, service, warning, worker_pod

Json = dict[str, Any]


@pytest.fixture
def observer() -> Observer:
    """An observer of the cluster ``foo`` that has seen nothing else yet."""
    return Observer(Api(), "default", versioned(cluster()))


def versioned(found: Json) -> Json:
    return {**found, "metadata": {"resourceVersion": "1", "namespace": "default", **found["metadata"]}}


def owned_by(uid: str, found: Json) -> Json:
    owner = {"apiVersion": "kubernetes.dask.org/v1", "kind": "DaskCluster", "name": "foo", "uid": uid}
    return {**found, "metadata": {**found["metadata"], "ownerReferences": [owner]}}


async def test_what_an_earlier_cluster_has_left_does_not_count(observer: Observer) -> None:
    observer._pods._take("ADDED", owned_by("an earlier one", scheduler_pod(**READY)))
    observer._services._take("ADDED", owned_by("an earlier one", service()))
    observer._groups._take("ADDED", owned_by("an earlier one", group()))
    now = observer.now
    assert (now.scheduler, now.service, now.groups) == (None, None, {})
    assert startup.stage(now) is not None

    observer._pods._take("MODIFIED", owned_by(observer.uid, scheduler_pod(**READY)))
    observer._services._take("MODIFIED", owned_by(observer.uid, service()))
    assert startup.stage(observer.now) is None


@pytest.mark.parametrize(
    ("about", "is_told"),
    [
        ("foo", True),
        ("foo-scheduler", True),
        ("foo-scheduler-0123456789", True),
        ("foo-default", True),
        ("foo-default-worker-0123456789", True),
        ("foo-bar", False),
        ("foo-bar-scheduler", False),
        ("foo-bar-default-worker-0123456789", False),
        ("food", False),
    ],
)
async def test_events_of_other_clusters_are_not_told(observer: Observer, about: str, is_told: bool) -> None:
    replaced = scheduler_pod(**READY)
    replaced["metadata"]["name"] = "foo-scheduler-0123456789"
    observer._pods._take("ADDED", replaced)
    observer._groups._take("ADDED", group())
    observer._events._take("ADDED", {"metadata": {"name": "e"}, **warning("Failed", "no", about)})
    assert bool(observer.now.events) is is_told


async def test_what_was_seen_does_not_change(observer: Observer) -> None:
    observer._pods._take("ADDED", worker_pod("first"))
    workers = iter(observer.now.pods)
    assert next(workers) == "first"
    observer._pods._take("ADDED", worker_pod("second"))
    assert list(workers) == []


def test_what_the_scheduler_told_does_not_change() -> None:
    kube_cluster = KubeCluster.__new__(KubeCluster)
    kube_cluster._workers_changed = asyncio.Event()
    kube_cluster.scheduler_info = {"workers": {"tcp://1": {"name": "first"}}}
    before = kube_cluster.scheduler_info["workers"]
    kube_cluster._update_worker_status("add", {"workers": {"tcp://2": {"name": "second"}}})
    assert kube_cluster.observed == {"first", "second"}
    kube_cluster._update_worker_status("remove", "tcp://1")
    kube_cluster._update_worker_status("remove", "tcp://3")
    assert kube_cluster.observed == {"second"}
    assert before == {"tcp://1": {"name": "first"}}
