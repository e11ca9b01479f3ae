"""What gets lost is replaced: pods that are deleted, fail, end or are evicted, processes, and whole nodes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest
from distributed import Client

from dask_k8s_client import KubeCluster
from tests.e2e.conftest import DASK_CLUSTERS, WORKER_GROUPS, pods_of
from tests.harness.flows import NAME, Shape, await_shape, create, holds, of
from tests.harness.kube import Kube, Object
from tests.harness.lab import Stage, a_lab
from tests.harness.worker_tasks import sent_to

Manifest = Callable[..., Object]


def await_pods(kube: Kube, namespace: str, workers: int, without: str) -> dict[str, Object]:
    """Wait for one scheduler and so many workers, all running, and none with that uid."""

    def complete(pods: dict[str, Object]) -> bool:
        components = sorted(pod["metadata"]["labels"]["dask.org/component"] for pod in pods.values())
        return (
            components == ["scheduler", *["worker"] * workers]
            and all(pod.get("status", {}).get("phase") == "Running" for pod in pods.values())
            and all("deletionTimestamp" not in pod["metadata"] for pod in pods.values())
            and without not in {pod["metadata"]["uid"] for pod in pods.values()}
        )

    return kube.wait_all("pods", namespace, until=complete)


@pytest.fixture
def healthy(kube: Kube, namespace: str, controller: object, idle_cluster_manifest: Manifest) -> str:
    """A namespace with a cluster of two workers."""
    kube.create(idle_cluster_manifest("healthy"), namespace)
    await_pods(kube, namespace, 2, without="")
    return namespace


@pytest.mark.parametrize("component", ["scheduler", "worker"])
def test_a_deleted_pod_is_replaced(kube: Kube, healthy: str, component: str) -> None:
    lost = pods_of(kube, "healthy", healthy, component)[0]
    rest = {pod["metadata"]["uid"] for pod in pods_of(kube, "healthy", healthy)} - {lost["metadata"]["uid"]}
    start = time.monotonic()

    kube.delete("pods", lost["metadata"]["name"], healthy)

    pods = await_pods(kube, healthy, 2, without=lost["metadata"]["uid"])
    print(f"a deleted {component}: {time.monotonic() - start:.1f} s")
    assert rest < {pod["metadata"]["uid"] for pod in pods.values()}


@pytest.mark.namespaced
def test_a_label_that_is_taken_off_the_scheduler_is_put_back(kube: Kube, healthy: str) -> None:
    """The watch calls it deleted; it is no reason to make a second one, nor to think that nothing is lost."""
    (scheduler,) = pods_of(kube, "healthy", healthy, "scheduler")
    name = scheduler["metadata"]["name"]
    kube.wait(DASK_CLUSTERS, "healthy", healthy, until=scheduler_is_ready)
    for label in ("dask.org/cluster-name", "dask.org/component"):
        before = kube.get("pods", name, healthy)
        assert before["metadata"]["uid"] == scheduler["metadata"]["uid"]
        kube.patch("pods", name, {"metadata": {"labels": {label: None}}}, healthy)
        kube.wait(
            "pods",
            name,
            healthy,
            until=lambda pod, wanted=before: pod["metadata"]["labels"] == wanted["metadata"]["labels"],
        )
    kube.wait(DASK_CLUSTERS, "healthy", healthy, until=scheduler_is_ready)
    (present,) = pods_of(kube, "healthy", healthy, "scheduler")
    assert present["metadata"]["uid"] == scheduler["metadata"]["uid"]


def scheduler_is_ready(cluster: Object) -> bool:
    return holds(cluster, "SchedulerReady")


ENDS = {
    "evicted": {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."},
    "shutdown": {"phase": "Failed", "reason": "Terminated", "message": "Node is shutting down."},
    "succeeded": {"phase": "Succeeded"},
}


def test_pods_that_keep_failing_are_not_replaced_in_a_rush(
    kube: Kube, namespace: str, controller: object, idle_cluster_manifest: Manifest
) -> None:
    manifest = idle_cluster_manifest("failing", n_workers=1)
    worker = manifest["spec"]["worker"]["spec"]
    worker |= {"restartPolicy": "Never"}
    worker["containers"][0]["command"] = ["sh", "-c", "exit 3"]
    listing = kube.request("GET", Kube.path("pods", namespace))["metadata"]["resourceVersion"]
    kube.create(manifest, namespace)

    created: list[float] = []
    watch = kube.watch(
        "pods", namespace, resourceVersion=listing, labelSelector="dask.org/component=worker", timeout=120
    )
    for event, _ in watch:
        if event == "ADDED":
            created.append(time.monotonic())
        if len(created) == 2:
            break
    first, second = created
    assert second - first > 5
    kube.wait(
        WORKER_GROUPS,
        "failing-default",
        namespace,
        until=lambda group: "exit code 3" in str(group.get("status", {}).get("conditions")),
    )


@pytest.mark.usefixtures("protocol")
def test_workers_and_schedulers_of_a_real_cluster_come_back(
    kube: Kube, namespace: str, controller: object, dask_image: str
) -> None:
    """A worker killed by SIGKILL, a worker's pod deleted, the scheduler's pod deleted, one after another."""
    with KubeCluster(name="tough", namespace=namespace, image=dask_image, n_workers=2, quiet=True) as cluster:
        with Client(cluster) as client:
            client.wait_for_workers(2, timeout=120)
            addresses = [*client.scheduler_info(n_workers=-1)["workers"]]

            start = time.monotonic()

            (nanny,) = client.run(os.getpid, workers=addresses[:1], nanny=True).values()
            suicide = client.submit(sent_to(client).kill, nanny, workers=addresses[:1], pure=False)
            await_scheduler_workers(client, 2, lambda found: addresses[0] not in found)
            suicide.cancel()
            print(f"SIGKILL of a worker: {time.monotonic() - start:.1f} s")

            pod = pods_of(kube, "tough", namespace, "worker")[0]
            names = {worker["id"] for worker in client.scheduler_info(n_workers=-1)["workers"].values()}
            assert pod["metadata"]["name"] in names
            start = time.monotonic()
            kube.delete("pods", pod["metadata"]["name"], namespace)
            await_scheduler_workers(client, 2, lambda _: True, without=pod["metadata"]["name"])
            print(f"a worker's pod deleted: {time.monotonic() - start:.1f} s")

        start = time.monotonic()
        scheduler = pods_of(kube, "tough", namespace, "scheduler")[0]
        kube.delete("pods", scheduler["metadata"]["name"], namespace)
        uid = scheduler["metadata"]["uid"]
        await_pods(kube, namespace, 2, without=uid)
        kube.wait(DASK_CLUSTERS, "tough", namespace, until=lambda found: holds(found, "SchedulerReady"))
        with (
            KubeCluster.from_name("tough", namespace=namespace, quiet=True) as again,
            Client(again) as client,
        ):
            client.wait_for_workers(2, timeout=120)
            print(
                f"the scheduler's pod deleted, until its workers are back: {time.monotonic() - start:.1f} s"
            )
            assert client.submit(sum, [1, 2]).result(timeout=120) == 3


def await_scheduler_workers(
    client: Client,
    number: int,
    until: Callable[[dict[str, Object]], bool],
    *,
    without: str = "",
    timeout: float = 120,
) -> None:
    deadline = time.monotonic() + timeout
    while True:
        workers = client.scheduler_info(n_workers=-1)["workers"]
        names = {worker["id"] for worker in workers.values()}
        if len(workers) == number and until(workers) and without not in names:
            return
        assert time.monotonic() < deadline, f"the scheduler's workers are still {workers}"
        time.sleep(0.1)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("component", ["scheduler", "worker"])
def test_pods_that_ended_are_replaced(stage: Stage, component: str) -> None:
    """As nodes say it of pods that they evict, that a shutdown ends, that are done though nobody asked."""
    create(2)(stage)
    await_shape(stage, Shape(of(2)))
    for end, status in ENDS.items():
        lost = pods_of(stage.kube, NAME, stage.namespace, component)[0]["metadata"]
        start = time.monotonic()
        stage.kube.patch("pods", lost["name"], {"status": status}, stage.namespace, subresource="status")
        # Another scheduler may have the name of the one before.
        stage.kube.wait_all("pods", stage.namespace, until=lambda pods, uid=lost["uid"]: is_gone(pods, uid))
        await_shape(stage, Shape(of(2)))
        print(f"a {component} that was {end}: {time.monotonic() - start:.2f} s")


def is_gone(pods: dict[str, Object], uid: str) -> bool:
    return uid not in {pod["metadata"]["uid"] for pod in pods.values()}


def test_pods_of_a_lost_node_come_back_on_another(request: pytest.FixtureRequest) -> None:
    with (
        a_lab(request, nodes=("kept", "lost"), heartbeat_scale=0.01) as lab,
        lab.controller(),
        lab.stage() as stage,
    ):
        lost, kept = lab.node("lost"), lab.node("kept")
        # Two nodes that suit equally are chosen from at random.
        stage.kube.patch("nodes", kept, {"spec": {"unschedulable": True}})
        create(4)(stage)
        await_shape(stage, Shape(of(4)))
        used = [pod["spec"]["nodeName"] for pod in stage.kube.list("pods", stage.namespace)]
        assert {*used} == {lost}
        stage.kube.patch("nodes", kept, {"spec": {"unschedulable": False}})
        start = time.monotonic()

        lab.pause_node("lost")

        def all_are_kept(pods: dict[str, Object]) -> bool:
            alive = [pod for pod in pods.values() if "deletionTimestamp" not in pod["metadata"]]
            ready = [pod for pod in alive if pod["status"]["phase"] == "Running"]
            return len(ready) == len(alive) == 5 and {pod["spec"]["nodeName"] for pod in ready} == {kept}

        # Kubernetes waits 350 s until it gives a node up.
        stage.kube.wait_all("pods", stage.namespace, until=all_are_kept, timeout=600)
        stage.kube.wait(
            DASK_CLUSTERS, NAME, stage.namespace, until=lambda found: holds(found, "SchedulerReady")
        )
        print(
            f"{len(used)} pods of a lost node: {time.monotonic() - start:.1f} s, "
            "of which Kubernetes' own are 350 s, on the local one scaled to 3.5 s"
        )
        lab.resume_node("lost")
        await_shape(stage, Shape(of(4)))
