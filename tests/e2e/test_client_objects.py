"""Dask's resources as kr8s objects: each kind created, scaled, awaited and deleted."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kr8s
import pytest

import dask_k8s_client
from dask_k8s_client import DaskCluster, DaskWorkerGroup, KubeCluster, make_cluster_spec
from dask_k8s_client import asyncio as asynchronous
from dask_k8s_client.errors import (
    AlreadyExistsError,
    ConflictError,
    NotFoundError,
    ResourceTimeoutError,
    ValidationError,
)
from tests.e2e.conftest import DASK_CLUSTERS
from tests.harness.examples import with_image
from tests.harness.kube import Kube, Object
from tests.harness.kubeconfigs import in_namespace
from tests.harness.pages import python_of

pytestmark = pytest.mark.usefixtures("controller")

SYNCHRONOUS = [program for program in python_of("docs/objects.md") if "asyncio" not in program]


@pytest.fixture(autouse=True)
def here(kubeconfig: Path, namespace: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The test's namespace is the current context's, by a kubeconfig that comes first."""
    monkeypatch.setenv("KUBECONFIG", in_namespace(kubeconfig, namespace, tmp_path / "first.yaml"))


@pytest.mark.full
@pytest.mark.parametrize("number", range(len(SYNCHRONOUS)))
async def test_the_documented_programs_work_beside_a_running_event_loop_as_in_a_notebook(
    number: int, dask_image: str
) -> None:
    exec(with_image(SYNCHRONOUS[number], dask_image), {"__name__": "__main__"})


def test_creating_is_strict_and_says_what_is_wrong(idle_cluster_manifest: Callable[..., Object]) -> None:
    manifest = idle_cluster_manifest("strict", n_workers=0)
    manifest["spec"]["worker"]["replica"] = 3
    with pytest.raises(ValidationError, match=r"spec\.worker\.replica"):
        DaskCluster(manifest).create()
    del manifest["spec"]["worker"]["replica"]
    cluster = DaskCluster(manifest)
    cluster.create()
    with pytest.raises(AlreadyExistsError) as caught:
        DaskCluster(manifest).create()
    assert isinstance(caught.value, kr8s.ServerError)
    cluster.delete()


def test_a_missing_object_is_one_request_and_both_libraries_error() -> None:
    connection = dask_k8s_client.objects.api()
    before = connection.requests
    with pytest.raises(NotFoundError) as caught:
        DaskCluster.get("missing")
    assert isinstance(caught.value, kr8s.NotFoundError)
    assert connection.requests == before + 1
    assert not DaskCluster("missing").exists()
    assert list(DaskCluster.list()) == []


def test_only_this_very_object_is_deleted(
    kube: Kube, namespace: str, idle_cluster_manifest: Callable[..., Object]
) -> None:
    first = DaskCluster(idle_cluster_manifest("again", n_workers=0))
    first.create()
    first.delete()
    first.wait("delete", timeout=60)
    second = DaskCluster(idle_cluster_manifest("again", n_workers=0))
    second.create()
    assert not first.exists()
    with pytest.raises(ConflictError):
        first.delete()
    assert second.exists()
    second.delete()
    kube.gone(DASK_CLUSTERS, "again", namespace, timeout=60)


def test_an_object_is_typed_and_its_parts_are_found(
    kube: Kube, namespace: str, idle_cluster_manifest: Callable[..., Object]
) -> None:
    cluster = DaskCluster(idle_cluster_manifest("typed", n_workers=2))
    assert cluster.status == {}
    assert (cluster.replicas, cluster.model.spec.worker.replicas) == (2, 2)
    cluster.create()
    cluster.wait("jsonpath='{.status.readyReplicas}'=2", timeout=120)
    assert cluster.scheduler_pod().name == "typed-scheduler"
    assert cluster.scheduler_service().name == "typed-scheduler"
    [group] = cluster.worker_groups()
    assert isinstance(group, DaskWorkerGroup)
    assert {pod.name for pod in group.pods()} == {pod.name for pod in cluster.workers()}
    assert len(group.pods()) == 2
    assert group.cluster() == cluster
    cluster.label({"mine": "yes"})
    cluster.patch([{"op": "replace", "path": "/spec/idleTimeout", "value": 7}], type="json")
    assert (cluster.labels.mine, cluster.spec.idleTimeout) == ("yes", 7)
    cluster.delete()


def test_what_does_not_come_about_is_told_with_all_conditions(
    idle_cluster_manifest: Callable[..., Object],
) -> None:
    cluster = DaskCluster(idle_cluster_manifest("slow", n_workers=0))
    cluster.create()
    with pytest.raises(ResourceTimeoutError, match=r"hasn't reached condition=Nothing.*within 0\.5 seconds"):
        cluster.wait("condition=Nothing", timeout=0.5)
    cluster.delete()


def test_a_condition_about_an_earlier_spec_does_not_count(
    idle_cluster_manifest: Callable[..., Object],
) -> None:
    cluster = DaskCluster(idle_cluster_manifest("behind", n_workers=1))
    cluster.create()
    cluster.wait("condition=WorkersReady", timeout=120)
    cluster.scale(2)
    cluster.wait("condition=WorkersReady", timeout=120)
    assert cluster.status.observedGeneration == cluster.metadata.generation
    assert len(cluster.workers()) == 2
    cluster.delete()


async def test_a_cluster_of_ours_has_its_resource(dask_image: str) -> None:
    async with KubeCluster(
        name="whole", image=dask_image, n_workers=0, asynchronous=True, quiet=True
    ) as cluster:
        resource = cluster.resource
        assert isinstance(resource, asynchronous.DaskCluster)
        assert (await resource.scheduler_pod()).name == "whole-scheduler"
        await resource.scale(1)
        await resource.wait("jsonpath='{.status.replicas}'=1", timeout=60)


async def test_waiting_for_what_is_deleted_meanwhile_ends(
    idle_cluster_manifest: Callable[..., Object],
) -> None:
    cluster = await asynchronous.DaskCluster(idle_cluster_manifest("ending", n_workers=0))
    await cluster.create()
    import asyncio

    waiting = asyncio.create_task(cluster.wait("condition=Nothing", timeout=60))
    other = await asynchronous.DaskCluster.get("ending")
    await other.delete()
    with pytest.raises(NotFoundError, match="deleted meanwhile"):
        await waiting


FORK = """
import os, sys
from dask_k8s_client import DaskCluster
assert list(DaskCluster.list()) == []
if (child := os.fork()) == 0:
    print("child:", list(DaskCluster.list()), flush=True)
    os._exit(0)
os.waitpid(child, 0)
print("parent:", list(DaskCluster.list()))
"""


def test_a_forked_process_has_connections_of_its_own() -> None:
    command = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", FORK]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout.split("\n")[:2], done.stderr) == (["child: []", "parent: []"], "")


def test_a_users_own_kr8s_knows_the_kinds_too(idle_cluster_manifest: Callable[..., Object]) -> None:
    cluster = DaskCluster(idle_cluster_manifest("theirs", n_workers=0))
    cluster.create()
    ours = dask_k8s_client.objects.api()
    found: list[Any] = list(ours.get("daskclusters"))
    assert [type(one) for one in found] == [DaskCluster]
    assert make_cluster_spec("x")["kind"] == found[0].kind
    cluster.delete()
