"""What breaks is made whole again, with real processes; how long that takes is printed."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil
from distributed import Client

from tests.harness.kube import Kube
from tests.unit.controller.real.conftest import GROUPS, RealCluster


def wait_until(holds: Callable[[], bool], limit: float = 60) -> float:
    """Wait for a condition; return the seconds it took."""
    begun = time.monotonic()
    while not holds():
        if time.monotonic() - begun > limit:
            raise TimeoutError("it is not made whole again")
        time.sleep(0.05)
    return time.monotonic() - begun


def is_served(cluster: RealCluster, workers: int) -> bool:
    """Whether a scheduler answers that has exactly these workers."""
    pods = cluster.pods("scheduler")
    if len(pods) != 1 or len(cluster.pods("worker")) != workers or not pods[0]["status"].get("podIP"):
        return False
    try:
        with Client(f"tcp://{pods[0]['status']['podIP']}:8786", timeout="2s") as client:
            return len(client.scheduler_info(n_workers=-1)["workers"]) == workers
    except (OSError, TimeoutError):
        return False


def test_a_worker_pod_that_is_deleted(real_cluster: Callable[..., RealCluster], kube: Kube) -> None:
    cluster = real_cluster(2)
    victim = cluster.pods("worker")[0]["metadata"]["name"]
    kube.delete("pods", victim, cluster.namespace)
    took = wait_until(lambda: is_served(cluster, 2) and victim not in names(cluster))
    print(f"a deleted worker is replaced after {took:.1f} s")


def test_a_worker_process_that_is_killed(real_cluster: Callable[..., RealCluster]) -> None:
    cluster = real_cluster(2)
    victim = cluster.pods("worker")[0]["metadata"]["name"]
    for process in processes_of(victim):
        process.kill()
    took = wait_until(lambda: not processes_of(victim) or is_served(cluster, 2))
    took += wait_until(lambda: is_served(cluster, 2))
    print(f"a killed worker is back after {took:.1f} s")


def test_a_scheduler_pod_that_is_deleted(real_cluster: Callable[..., RealCluster], kube: Kube) -> None:
    cluster = real_cluster(2)
    first = cluster.pods("scheduler")[0]["metadata"]["uid"]
    kube.delete("pods", "c-scheduler", cluster.namespace)
    took = wait_until(
        lambda: (
            [pod["metadata"]["uid"] for pod in cluster.pods("scheduler")] != [first] and is_served(cluster, 2)
        )
    )
    print(f"a deleted scheduler is replaced, and its workers have joined it, after {took:.1f} s")


def test_a_changed_worker_spec_reaches_the_pods_with_results_kept(
    real_cluster: Callable[..., RealCluster], kube: Kube
) -> None:
    cluster = real_cluster(2)
    before = set(names(cluster))
    with cluster.connect() as client:
        client.wait_for_workers(2, timeout=60)
        held = client.scatter(list(range(10)))
        spec = kube.get(GROUPS, "c-default", cluster.namespace)["spec"]["worker"]["spec"]
        spec["containers"][0]["env"] = [{"name": "CHANGED", "value": "yes"}]
        patch = {"spec": {"worker": {"spec": spec}}}
        kube.patch("daskclusters.kubernetes.dask.org", "c", patch, cluster.namespace)
        took = wait_until(lambda: not before & set(names(cluster)) and len(cluster.pods("worker")) == 2)
        assert client.gather(held) == list(range(10))
    print(f"2 workers are replaced by such of the new spec in {took:.1f} s")


def test_a_suspended_cluster_has_no_pods_and_comes_back(
    real_cluster: Callable[..., RealCluster], kube: Kube
) -> None:
    cluster = real_cluster(1)
    kube.patch("daskclusters.kubernetes.dask.org", "c", {"spec": {"suspend": True}}, cluster.namespace)
    wait_until(lambda: not cluster.pods())
    assert kube.get("services", "c-scheduler", cluster.namespace)
    kube.patch("daskclusters.kubernetes.dask.org", "c", {"spec": {"suspend": False}}, cluster.namespace)
    took = wait_until(lambda: is_served(cluster, 1))
    print(f"a resumed cluster is back after {took:.1f} s")


def test_an_idle_cluster_goes_and_a_busy_one_stays(
    real_cluster: Callable[..., RealCluster], kube: Kube
) -> None:
    cluster = real_cluster(1)
    with cluster.connect() as client:
        busy = client.submit(time.sleep, 5, pure=False)
        kube.patch("daskclusters.kubernetes.dask.org", "c", {"spec": {"idleTimeout": 1}}, cluster.namespace)
        busy.result(timeout=30)
        assert kube.find("daskclusters.kubernetes.dask.org", "c", cluster.namespace)
    kube.gone("daskclusters.kubernetes.dask.org", "c", cluster.namespace, timeout=20)


def names(cluster: RealCluster) -> list[str]:
    return [pod["metadata"]["name"] for pod in cluster.pods("worker")]


def processes_of(pod: str) -> list[psutil.Process]:
    """The Dask processes of a pod on this machine."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if pod in (process.info["cmdline"] or []) and "worker" in process.info["cmdline"]
    ]
