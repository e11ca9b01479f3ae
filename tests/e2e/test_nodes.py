"""Nodes that are drained or about to go: workers move before, nothing is lost, and no task runs twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from distributed import Client, wait

from tests.conformance.kubectl import Kubectl, need_kubectl
from tests.conformance.waiting import condition, condition_is
from tests.e2e.conftest import DASK_CLUSTERS, WORKER_GROUPS, is_running, pods_of
from tests.e2e.test_scaling import await_workers, connected, executions, workers_of
from tests.harness.controller import ControllerProcess
from tests.harness.kube import Kube, Object
from tests.harness.worker_tasks import sent_to

Manifest = Callable[..., Object]

pytestmark = [
    pytest.mark.usefixtures("controller"),
    pytest.mark.cluster_wide(reason="nodes are seen by a ClusterRole only"),
]

WORKERS = {"labelSelector": "dask.org/component=worker"}
SPOT = {"key": "aws-node-termination-handler/spot-itn", "value": "tests", "effect": "NoSchedule"}


@pytest.fixture
def kubectl(kubeconfig: Path, namespace: str, tmp_path: Path) -> Kubectl:
    need_kubectl()
    return Kubectl(kubeconfig, namespace, tmp_path / "cache")


@pytest.fixture
def spread_manifest(kube: Kube, cluster_manifest: Manifest) -> Manifest:
    """A cluster whose workers are on all the nodes that take them."""
    free = [node for node in kube.list("nodes") if not any(blocks(node))]
    if len(free) < 2:
        pytest.skip("there are fewer than two nodes that take pods")

    def manifest(n_workers: int) -> Object:
        body = cluster_manifest("moving", n_workers=n_workers)
        spread = {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "DoNotSchedule",
            "nodeTaintsPolicy": "Honor",
            "labelSelector": {"matchLabels": {"dask.org/workergroup-name": "moving-default"}},
        }
        body["spec"]["worker"]["spec"]["topologySpreadConstraints"] = [spread]
        return body

    return manifest


def blocks(node: Object) -> Iterator[Object]:
    """Yield what keeps pods away from a node."""
    if node["spec"].get("unschedulable"):
        yield node["spec"]
    for taint in node["spec"].get("taints") or ():
        if taint["effect"] != "PreferNoSchedule":
            yield taint


@contextmanager
def restored(kube: Kube, node: str) -> Iterator[None]:
    """Undo afterwards what was said of a node."""
    before = kube.get("nodes", node)["spec"].get("taints")
    try:
        yield
    finally:
        kube.patch("nodes", node, {"spec": {"unschedulable": None, "taints": before}})
        kube.wait("nodes", node, until=lambda body: not any(blocks(body)))


def tainted(kube: Kube, node: str) -> None:
    taints = kube.get("nodes", node)["spec"].get("taints") or []
    kube.patch("nodes", node, {"spec": {"taints": [*taints, SPOT]}})


def drained(kubectl: Kubectl, node: str, what: str = "dask.org/component=worker") -> None:
    """Drain a node of the cluster's pods, and of nobody else's."""
    selector = f"--pod-selector=dask.org/cluster-name=moving,{what}"
    kubectl("drain", node, selector, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=200s")


def await_departure(kube: Kube, namespace: str, node: str, workers: int) -> None:
    """Wait until no worker is left on a node, and as many as before are elsewhere."""
    kube.wait_all(
        "pods",
        namespace,
        until=lambda pods: (
            len(pods) == workers
            and all(condition_is(pod, "Ready") and pod["spec"]["nodeName"] != node for pod in pods.values())
        ),
        timeout=240,
        **WORKERS,
    )


def node_of(kube: Kube, namespace: str, component: str) -> str:
    (pod,) = pods_of(kube, "moving", namespace, component)
    return pod["spec"]["nodeName"]


class Load:
    """Results in memory, and tasks that run while workers move."""

    def __init__(self, client: Client, workers: int, seconds: float) -> None:
        self.client = client
        tasks = sent_to(client)
        self.results = client.map(tasks.make, range(40), pure=False)
        wait(self.results, timeout=120)
        self.long = client.map(tasks.work, range(workers), seconds=seconds, pure=False)
        self.short = client.map(tasks.work, range(workers, workers + 40), seconds=0.2, pure=False)

    def assert_nothing_was_lost(self) -> None:
        tasks = [*self.long, *self.short]
        assert sorted(self.client.gather(tasks)) == [*range(len(tasks))]
        assert sorted(number for number, _ in self.client.gather(self.results)) == [*range(40)]
        assert {name: count for name, count in executions(self.client).items() if count != 1} == {}


@contextmanager
def loaded(kube: Kube, namespace: str, manifest: Object, seconds: float) -> Iterator[tuple[str, Load]]:
    """Run a cluster under load; hand out the name of a node with workers, on which its scheduler isn't."""
    kube.create(manifest, namespace)
    workers = manifest["spec"]["worker"]["replicas"]
    with connected("moving", namespace, workers) as client:
        avoided = node_of(kube, namespace, "scheduler")
        pods = workers_of(kube, namespace, "moving-default")
        node = next(name for pod in pods if (name := pod["spec"]["nodeName"]) != avoided)
        with restored(kube, node):
            yield node, Load(client, workers, seconds)


def lose_a_node(
    kube: Kube, namespace: str, manifest: Object, leave: Callable[[str], None], seconds: float
) -> None:
    with loaded(kube, namespace, manifest, seconds) as (node, load):
        leave(node)

        await_departure(kube, namespace, node, workers=4)
        load.assert_nothing_was_lost()
        kube.wait(
            WORKER_GROUPS,
            "moving-default",
            namespace,
            until=lambda group: group["status"].get("readyReplicas") == group["status"]["replicas"] == 4,
        )


def test_a_drain_loses_nothing(
    kube: Kube, namespace: str, spread_manifest: Manifest, kubectl: Kubectl
) -> None:
    lose_a_node(kube, namespace, spread_manifest(4), lambda node: drained(kubectl, node), seconds=20)


def test_a_node_whose_end_is_announced_is_left_before(
    kube: Kube, namespace: str, spread_manifest: Manifest
) -> None:
    lose_a_node(kube, namespace, spread_manifest(4), lambda node: tainted(kube, node), seconds=20)


def without_a_controller(
    kube: Kube, kubectl: Kubectl, controller: ControllerProcess
) -> Callable[[str], None]:
    """Do what termination handlers do, while no controller runs: taint the node, then drain it."""

    def leave(node: str) -> None:
        controller.stop()
        try:
            tainted(kube, node)
            drained(kubectl, node)
        finally:
            controller.start()

    return leave


def test_a_node_that_goes_while_no_controller_runs_loses_nothing(
    kube: Kube,
    namespace: str,
    spread_manifest: Manifest,
    kubectl: Kubectl,
    controller: ControllerProcess,
) -> None:
    leave = without_a_controller(kube, kubectl, controller)
    lose_a_node(kube, namespace, spread_manifest(4), leave, seconds=20)


@pytest.mark.full
@pytest.mark.parametrize("number", range(20))
class TestAgainAndAgain:
    """Tasks that take 20 s, as those that a drain meets."""

    def test_a_drain(
        self, kube: Kube, namespace: str, spread_manifest: Manifest, kubectl: Kubectl, number: int
    ) -> None:
        lose_a_node(kube, namespace, spread_manifest(4), lambda node: drained(kubectl, node), seconds=20)

    def test_a_taint(self, kube: Kube, namespace: str, spread_manifest: Manifest, number: int) -> None:
        lose_a_node(kube, namespace, spread_manifest(4), lambda node: tainted(kube, node), seconds=20)

    def test_both_without_a_controller(
        self,
        kube: Kube,
        namespace: str,
        spread_manifest: Manifest,
        kubectl: Kubectl,
        controller: ControllerProcess,
        number: int,
    ) -> None:
        leave = without_a_controller(kube, kubectl, controller)
        lose_a_node(kube, namespace, spread_manifest(4), leave, seconds=20)


def test_a_worker_that_is_alone_moves_and_one_without_room_stays(
    kube: Kube, namespace: str, spread_manifest: Manifest
) -> None:
    """Its successor waits for room, which an uncordon makes superfluous; then it may go anywhere."""
    manifest = spread_manifest(1)
    kube.create(manifest, namespace)
    with connected("moving", namespace, 1) as client:
        results = client.map(sent_to(client).make, range(10), pure=False)
        wait(results, timeout=120)
        (worker,) = workers_of(kube, namespace, "moving-default")
        node = worker["spec"]["nodeName"]
        hostname = kube.get("nodes", node)["metadata"]["labels"]["kubernetes.io/hostname"]
        with restored(kube, node):
            pin(kube, namespace, {"kubernetes.io/hostname": hostname})
            (worker,) = await_pinned(kube, namespace, pinned=True)
            kube.patch("nodes", node, {"spec": {"unschedulable": True}})
            kube.wait_all("pods", namespace, until=one_waits, **WORKERS)
            group = kube.wait(
                WORKER_GROUPS,
                "moving-default",
                namespace,
                until=lambda group: condition_is(group, "Reconciling", "True", "NodesLeaving"),
            )
            assert condition_is(group, "Ready")
            assert node in condition(group, "Reconciling")["message"]  # type: ignore[index]
        kube.wait_all("pods", namespace, until=lambda pods: len(pods) == 1, **WORKERS)
        (left,) = workers_of(kube, namespace, "moving-default")
        assert left["metadata"]["uid"] == worker["metadata"]["uid"]

        pin(kube, namespace, None)
        (worker,) = await_pinned(kube, namespace, pinned=False)
        node = worker["spec"]["nodeName"]
        with restored(kube, node):
            tainted(kube, node)
            await_departure(kube, namespace, node, workers=1)
        assert sorted(number for number, _ in client.gather(results)) == [*range(10)]
        assert {name: count for name, count in executions(client).items() if count != 1} == {}


def pin(kube: Kube, namespace: str, selector: Object | None) -> None:
    """Have the cluster's workers on certain nodes only."""
    patch = {"spec": {"worker": {"spec": {"nodeSelector": selector}}}}
    kube.patch(DASK_CLUSTERS, "moving", patch, namespace)


def await_pinned(kube: Kube, namespace: str, *, pinned: bool) -> list[Object]:
    def is_rolled_out(pods: dict[str, Object]) -> bool:
        return len(pods) == 1 and all(
            ("nodeSelector" in pod["spec"]) == pinned and condition_is(pod, "Ready") for pod in pods.values()
        )

    return [*kube.wait_all("pods", namespace, until=is_rolled_out, timeout=240, **WORKERS).values()]


def one_waits(pods: dict[str, Object]) -> bool:
    waiting = [pod for pod in pods.values() if condition_is(pod, "PodScheduled", "False", "Unschedulable")]
    return len(pods) == 2 and len(waiting) == 1


def test_it_is_told_that_the_schedulers_node_goes_and_one_that_is_evicted_is_made_elsewhere(
    kube: Kube, namespace: str, spread_manifest: Manifest, kubectl: Kubectl
) -> None:
    kube.create(spread_manifest(1), namespace)
    kube.wait(DASK_CLUSTERS, "moving", namespace, until=lambda body: condition_is(body, "SchedulerReady"))
    kube.wait(DASK_CLUSTERS, "moving", namespace, until=is_running)
    node = node_of(kube, namespace, "scheduler")
    with restored(kube, node):
        kubectl("cordon", node)
        told = kube.wait(
            DASK_CLUSTERS, "moving", namespace, until=lambda body: condition_is(body, "SchedulerNodeLeaving")
        )
        assert node in condition(told, "SchedulerNodeLeaving")["message"]  # type: ignore[index]
        kube.wait_all(
            "events",
            namespace,
            until=lambda events: any(one["reason"] == "SchedulerNodeLeaving" for one in events.values()),
        )
        begin = time.monotonic()
        drained(kubectl, node, "dask.org/component=scheduler")
        kube.wait_all(
            "pods",
            namespace,
            until=lambda pods: any(
                condition_is(pod, "Ready") and pod["spec"]["nodeName"] != node for pod in pods.values()
            ),
            labelSelector="dask.org/component=scheduler",
        )
        print(f"a scheduler that was evicted is ready elsewhere after {time.monotonic() - begin:.1f} s")
        kube.wait(
            DASK_CLUSTERS,
            "moving",
            namespace,
            until=lambda body: condition_is(body, "SchedulerNodeLeaving", "False"),
        )
        await_workers(kube, namespace, "moving", 1)
