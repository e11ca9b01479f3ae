"""Nothing is decided because something is missing from the cache: it is read from the API server first."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from dask_k8s_controller.cache.objects import By, Pod
from dask_k8s_controller.worker_group.spec import WorkerGroup
from dask_k8s_models import labels
from tests.harness.by_hand import ControllerByHand, owned_by
from tests.harness.clocks import ManualClock
from tests.harness.kube import Object
from tests.unit.controller.builders import cluster_body, group_body, pod_body, pod_spec

GROUPS = "daskworkergroups.kubernetes.dask.org"
RUNNING = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


class Group:
    """A group of a cluster, which wants one worker."""

    def __init__(self, by_hand: ControllerByHand) -> None:
        self.controller = by_hand
        self.cluster = by_hand.create(cluster_body())
        self.body = by_hand.create(group_body(replicas=1, owner=""), ownerReferences=owned_by(self.cluster))

    def pod(self, name: str, status: Object = RUNNING, component: str = "worker", **on_it: str) -> None:
        """Have a pod of the group, or of its cluster."""
        kube, namespace = self.controller.kube, self.controller.namespace
        owner = self.body if component == "worker" else self.cluster
        body = pod_body(name, component=component)
        metadata = {
            "labels": on_it or body["metadata"]["labels"],
            "annotations": {labels.TEMPLATE_HASH: WorkerGroup.of(self.body).worker_hash},
            "ownerReferences": owned_by(owner),
        }
        self.controller.create({**body, "spec": pod_spec(component)}, **metadata)
        kube.patch("pods", name, {"status": status}, namespace, subresource="status")

    def pods(self) -> set[str]:
        return {
            pod["metadata"]["name"] for pod in self.controller.kube.list("pods", self.controller.namespace)
        }


@pytest.fixture
def group(by_hand: ControllerByHand) -> Group:
    return Group(by_hand)


@pytest.fixture
def workers(group: Group) -> Callable[[], set[str]]:
    """Two workers more than it wants; returns which are left."""
    for name in ("w1", "w2", "w3"):
        group.pod(name)
    return lambda: {name for name in group.pods() if name.startswith("w")}


async def test_no_worker_is_deleted_if_the_scheduler_only_lost_its_label(
    by_hand: ControllerByHand, group: Group, workers: Callable[[], set[str]]
) -> None:
    group.pod("c-scheduler", {"phase": "Pending"}, "scheduler", team="a")
    await by_hand.look()
    assert by_hand.cache.find(Pod, By("name", by_hand.namespace, "c-scheduler")) == ()
    await by_hand.reconcile("DaskWorkerGroup", "c-default")
    assert workers() == {"w1", "w2", "w3"}
    [found] = by_hand.cache.find(Pod, By("name", by_hand.namespace, "c-scheduler"))
    assert found.name == "c-scheduler"


@pytest.mark.usefixtures("group")
async def test_nothing_is_decided_if_the_api_server_does_not_say(
    by_hand: ControllerByHand, workers: Callable[[], set[str]]
) -> None:
    await by_hand.look()
    fault = by_hand.kubernetes.faults.fail(503, when=by_hand.asks("get", "pods"))
    requeue = await by_hand.reconcile("DaskWorkerGroup", "c-default")
    assert requeue.failed
    assert fault.hits == 1
    assert workers() == {"w1", "w2", "w3"}


@pytest.mark.usefixtures("group")
async def test_without_a_scheduler_anywhere_there_is_nothing_to_lose(
    by_hand: ControllerByHand, workers: Callable[[], set[str]]
) -> None:
    await by_hand.look()
    begun = len(by_hand.kubernetes.faults.log)
    await by_hand.reconcile("DaskWorkerGroup", "c-default")
    assert len(workers()) == 1
    looks = filter(by_hand.asks("get", "pods"), by_hand.kubernetes.faults.log[begun:])
    assert [request.name for request in looks].count("c-scheduler") == 1


class JumpingClock(ManualClock):
    """Its time of day steps back by an hour at the second look."""

    looks = 0

    def now(self) -> datetime:
        self.looks += 1
        return super().now() - (timedelta(hours=1) if self.looks > 1 else timedelta())


async def test_a_wait_is_as_long_as_it_should_be_though_the_time_of_day_steps_back(
    by_hand: ControllerByHand, group: Group
) -> None:
    clock = JumpingClock(by_hand.clock.beginning)
    ended = {"exitCode": 1, "finishedAt": (clock.beginning - timedelta(seconds=4)).isoformat()}
    container = {"name": "worker", "image": "dask", "imageID": "", "ready": False, "restartCount": 0}
    status = {
        "phase": "Failed",
        "containerStatuses": [{**container, "state": {"terminated": ended}}],
    }
    group.pod("w4", status)
    async with ControllerByHand(by_hand.kubernetes, by_hand.kube, by_hand.namespace, clock=clock) as jumping:
        await jumping.look()
        requeue = await jumping.reconcile("DaskWorkerGroup", "c-default")
    assert requeue.after == 6


async def test_a_pod_that_claims_to_be_a_scheduler_holds_up_no_group_that_has_one(
    by_hand: ControllerByHand, group: Group
) -> None:
    group.pod("c-scheduler", component="scheduler")
    labels_of_one = pod_body("forged", component="scheduler")["metadata"]["labels"]
    by_hand.create({**pod_body("forged"), "spec": pod_spec("scheduler")}, labels=labels_of_one)
    await by_hand.look()
    await by_hand.reconcile("DaskWorkerGroup", "c-default")
    assert len(group.pods() - {"c-scheduler", "forged"}) == 1
