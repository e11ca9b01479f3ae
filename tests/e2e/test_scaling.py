"""Scaling down loses nothing: real schedulers and workers whose results, tasks and executions are counted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from distributed import Client, wait

from dask_k8s_client import KubeCluster
from tests.e2e.conftest import DASK_CLUSTERS, WORKER_GROUPS, is_running, pods_of
from tests.harness.kube import Kube, Object
from tests.harness.worker_tasks import sent_to

Manifest = Callable[..., Object]

pytestmark = pytest.mark.usefixtures("controller", "protocol")


@contextmanager
def connected(name: str, namespace: str, workers: int) -> Iterator[Client]:
    with (
        KubeCluster.from_name(name, namespace=namespace, quiet=True) as cluster,
        Client(cluster) as client,
    ):
        if workers:
            client.wait_for_workers(workers, timeout=120)
        yield client


def executions(client: Client) -> Counter[str]:
    """How often each task has begun, as the workers told when it did."""
    return Counter(message for _, message in client.get_events("begun"))


def scale(kube: Kube, namespace: str, group: str, replicas: int) -> None:
    kube.patch(WORKER_GROUPS, group, {"spec": {"replicas": replicas}}, namespace, subresource="scale")


def await_workers(kube: Kube, namespace: str, cluster: str, number: int, timeout: float = 180) -> None:
    """Wait until exactly so many worker pods of the cluster are left, none on its way out."""
    kube.wait_all(
        "pods",
        namespace,
        until=lambda pods: len(pods) == number,
        timeout=timeout,
        labelSelector=f"dask.org/component=worker,dask.org/cluster-name={cluster}",
    )


def shrink_under_load(kube: Kube, namespace: str, manifest: Object, group: Object) -> None:
    kube.create(manifest, namespace)
    kube.create(group, namespace)
    with connected("busy", namespace, 4) as client:
        tasks = sent_to(client)
        results = client.map(tasks.make, range(40), pure=False)
        wait(results, timeout=120)
        long = client.map(tasks.work, range(2), seconds=8, pure=False)
        short = client.map(tasks.work, range(2, 42), seconds=0.2, pure=False)
        kept = {pod["metadata"]["uid"] for pod in workers_of(kube, namespace, "busy-other")}

        scale(kube, namespace, "busy-default", 1)

        assert sorted(client.gather(long + short)) == [*range(42)]
        await_workers(kube, namespace, "busy", 2)
        assert sorted(number for number, _ in client.gather(results)) == [*range(40)]
        assert {name: count for name, count in executions(client).items() if count != 1} == {}
        assert {pod["metadata"]["uid"] for pod in workers_of(kube, namespace, "busy-other")} == kept
        assert len(workers_of(kube, namespace, "busy-default")) == 1


def workers_of(kube: Kube, namespace: str, group: str) -> list[Object]:
    return kube.list("pods", namespace, f"dask.org/workergroup-name={group}")


@pytest.fixture
def other_group(cluster_manifest: Manifest) -> Object:
    worker = cluster_manifest("busy", n_workers=1)["spec"]["worker"]
    return {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskWorkerGroup",
        "metadata": {"name": "busy-other"},
        "spec": {"cluster": "busy", "worker": worker},
    }


def test_no_result_is_lost_and_no_task_runs_twice(
    kube: Kube, namespace: str, cluster_manifest: Manifest, other_group: Object
) -> None:
    """Results in memory under load, running tasks that end in time, and a group beside that stays."""
    shrink_under_load(kube, namespace, cluster_manifest("busy", n_workers=3), other_group)


@pytest.mark.full
@pytest.mark.parametrize("repetition", range(19))
def test_no_result_is_ever_lost(
    kube: Kube, namespace: str, cluster_manifest: Manifest, other_group: Object, repetition: int
) -> None:
    shrink_under_load(kube, namespace, cluster_manifest("busy", n_workers=3), other_group)


def test_results_move_to_a_group_whose_workers_are_yet_to_come(
    kube: Kube, namespace: str, cluster_manifest: Manifest
) -> None:
    """The idiom for moving to other workers: add a group, scale the first one to zero."""
    kube.create(cluster_manifest("moving", n_workers=1), namespace)
    with connected("moving", namespace, 1) as client:
        results = client.scatter([*range(9)], hash=False)
        client.cluster.add_worker_group("big", n_workers=2)
        client.cluster.scale(0)

        await_workers(kube, namespace, "moving", 2)
        kube.wait_all(
            "pods",
            namespace,
            until=lambda pods: not pods,
            timeout=120,
            labelSelector="dask.org/workergroup-name=moving-default",
        )
        assert client.gather(results) == [*range(9)]


@pytest.mark.full
def test_a_task_that_takes_too_long_is_moved(kube: Kube, namespace: str, cluster_manifest: Manifest) -> None:
    manifest = cluster_manifest("slow", n_workers=2)
    manifest["spec"]["worker"]["drainTimeoutSeconds"] = 3
    kube.create(manifest, namespace)
    with connected("slow", namespace, 2) as client:
        tasks = client.map(sent_to(client).work, range(2), seconds=20, pure=False)
        kube.patch(DASK_CLUSTERS, "slow", {"spec": {"worker": {"replicas": 1}}}, namespace)
        start = time.monotonic()
        await_workers(kube, namespace, "slow", 1)
        assert time.monotonic() - start < 18
        assert sorted(client.gather(tasks)) == [0, 1]


@pytest.mark.parametrize(
    "options",
    [
        ["--nworkers", "2"],
        pytest.param([], marks=pytest.mark.full),
    ],
    ids=["several in a pod", "no name"],
)
def test_workers_without_our_name_map_to_their_pods(
    kube: Kube, namespace: str, cluster_manifest: Manifest, options: list[str]
) -> None:
    """A pod goes when all its workers are retired, whatever they are called."""
    manifest = cluster_manifest("nameless", n_workers=2)
    container = manifest["spec"]["worker"]["spec"]["containers"][0]
    words = [*container.pop("command", []), *container["args"]]
    assert words[:2] == ["dask", "worker"]
    if not options:
        words = ["dask", "worker", "--no-dashboard"]
    container["args"] = [*words, *options, "--nthreads", "1"]
    each = 2 if options else 1
    kube.create(manifest, namespace)
    with connected("nameless", namespace, 2 * each) as client:
        results = client.map(pow, range(20), [2] * 20, pure=False)
        wait(results, timeout=120)

        kube.patch(DASK_CLUSTERS, "nameless", {"spec": {"worker": {"replicas": 1}}}, namespace)
        await_workers(kube, namespace, "nameless", 1)

        assert all(result.status == "finished" for result in results)
        assert client.gather(results) == [number**2 for number in range(20)]
        assert len(client.scheduler_info(n_workers=-1)["workers"]) == each


@pytest.mark.full
@pytest.mark.parametrize("are_named", [False, True], ids=["nameless", "named"])
def test_workers_on_a_nodes_network_keep_their_results_and_are_found_by_name_alone(
    kube: Kube, namespace: str, cluster_manifest: Manifest, are_named: bool
) -> None:
    """All pods of a node have its address there: which one a worker without our name is in, nobody knows."""
    manifest = cluster_manifest("hosted", n_workers=3)
    pod = manifest["spec"]["worker"]["spec"]
    pod["hostNetwork"] = True
    pod["dnsPolicy"] = "ClusterFirstWithHostNet"
    pod["nodeSelector"] = {"kubernetes.io/hostname": a_node_for_anybody(kube)}
    container = pod["containers"][0]
    words = [*container.pop("command", []), *container["args"]]
    assert words[:4] == ["dask", "worker", "--name", "$(DASK_WORKER_NAME)"]
    # A port for each: they share the node's.
    container["args"] = [
        "dask",
        "worker",
        *words[2 if are_named else 4 :],
        "--no-dashboard",
        "--nthreads",
        "1",
    ]
    for key in ("ports", "readinessProbe", "livenessProbe"):
        container.pop(key, None)
    kube.create(manifest, namespace)
    with connected("hosted", namespace, 3) as client:
        results = client.map(pow, range(30), [2] * 30, pure=False)
        wait(results, timeout=120)
        before = {pod["metadata"]["uid"] for pod in workers_of(kube, namespace, "hosted-default")}
        kube.wait(
            WORKER_GROUPS,
            "hosted-default",
            namespace,
            until=lambda group: group.get("status", {}).get("readyReplicas") == 3,
        )

        kube.patch(DASK_CLUSTERS, "hosted", {"spec": {"worker": {"replicas": 1}}}, namespace)

        if are_named:
            await_workers(kube, namespace, "hosted", 1)
        else:
            group = kube.wait(WORKER_GROUPS, "hosted-default", namespace, until=is_stuck_with_strangers)
            [told] = [one for one in group["status"]["conditions"] if one["type"] == "Ready"]
            assert "--name $(DASK_WORKER_NAME)" in told["message"]
            assert {pod["metadata"]["uid"] for pod in pods_of(kube, "hosted", namespace, "worker")} == before
        assert all(result.status == "finished" for result in results)
        assert client.gather(results) == [number**2 for number in range(30)]


def is_stuck_with_strangers(group: Object) -> bool:
    conditions = group.get("status", {}).get("conditions", [])
    return any(one["reason"] == "WorkersNotRecognized" for one in conditions)


def a_node_for_anybody(kube: Kube) -> str:
    node = next(node for node in kube.list("nodes") if not node["spec"].get("taints"))
    return str(node["metadata"]["labels"]["kubernetes.io/hostname"])


def test_nothing_is_deleted_while_the_scheduler_is_out_of_reach(
    kube: Kube, namespace: str, idle_cluster_manifest: Manifest
) -> None:
    kube.create(idle_cluster_manifest("mute", n_workers=3), namespace)
    kube.wait(DASK_CLUSTERS, "mute", namespace, until=is_running)
    kube.wait_all(
        "pods",
        namespace,
        until=lambda pods: (
            len(pods) == 4 and all(p["status"].get("phase") == "Running" for p in pods.values())
        ),
    )
    before = {pod["metadata"]["uid"] for pod in pods_of(kube, "mute", namespace)}

    kube.patch(DASK_CLUSTERS, "mute", {"spec": {"worker": {"replicas": 1}}}, namespace)

    def tells(found: Object) -> bool:
        return any(
            item["type"] == "Ready" and item["status"] == "False" and item["reason"] == "SchedulerUnreachable"
            for item in found.get("status", {}).get("conditions", ())
        )

    group = kube.wait(WORKER_GROUPS, "mute-default", namespace, until=tells)
    assert group["spec"]["worker"]["replicas"] == 1
    assert {pod["metadata"]["uid"] for pod in pods_of(kube, "mute", namespace)} == before

    # No scheduler pod, nothing to lose.
    kube.patch(DASK_CLUSTERS, "mute", {"spec": {"worker": {"replicas": 3}}}, namespace)
    kube.wait(
        WORKER_GROUPS, "mute-default", namespace, until=lambda found: found["spec"]["worker"]["replicas"] == 3
    )
    assert {pod["metadata"]["uid"] for pod in pods_of(kube, "mute", namespace)} == before


def test_pending_workers_go_first_whatever_the_scheduler_says(
    kube: Kube, namespace: str, idle_cluster_manifest: Manifest
) -> None:
    manifest = idle_cluster_manifest("half", n_workers=2)
    manifest["spec"]["worker"]["updateStrategy"] = {"type": "OnDelete"}
    kube.create(manifest, namespace)
    running = kube.wait_all(
        "pods",
        namespace,
        until=lambda pods: (
            len(pods) == 3 and all(p["status"].get("phase") == "Running" for p in pods.values())
        ),
    )
    worker = {"replicas": 4, "spec": {"nodeSelector": {"test.dask.org/no-such": "node"}}}
    kube.patch(DASK_CLUSTERS, "half", {"spec": {"worker": worker}}, namespace)
    kube.wait_all("pods", namespace, until=lambda pods: len(pods) == 5)
    kube.wait(
        WORKER_GROUPS,
        "half-default",
        namespace,
        until=lambda group: "Unschedulable" in str(group["status"].get("conditions")),
    )

    kube.patch(DASK_CLUSTERS, "half", {"spec": {"worker": {"replicas": 2}}}, namespace)

    left = kube.wait_all("pods", namespace, until=lambda pods: len(pods) == 3)
    assert left.keys() == running.keys()
