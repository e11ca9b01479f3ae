"""How long clusters take to start, as the metrics tell it: what holds them back is no part of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dask_k8s_models import names
from tests.harness.by_hand import ControllerByHand
from tests.unit.controller.builders import cluster_body, pod_spec

CLUSTERS = "daskclusters.kubernetes.dask.org"
RUNNING = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


class Start:
    """A cluster without workers that comes into being, with time that passes when a test says so."""

    def __init__(self, controller: ControllerByHand, **spec: Any) -> None:
        self.controller, self.kube = controller, controller.kube
        created = controller.create(cluster_body(worker={"replicas": 0}, **spec))
        controller.clock.beginning = datetime.fromisoformat(created["metadata"]["creationTimestamp"])

    async def passes(self, seconds: float) -> None:
        """Let the controller do what it can, then let time pass."""
        for _ in range(3):
            await self.controller.look()
            await self.controller.reconcile("DaskCluster", "c")
            await self.controller.reconcile("DaskWorkerGroup", names.default_group("c"))
        self.controller.clock.advance(seconds)

    def user_sets(self, **spec: Any) -> None:
        self.kube.patch(CLUSTERS, "c", {"spec": spec}, self.controller.namespace)

    def queue_lets_in(self) -> None:
        gone = {"spec": {"schedulingGates": None}}
        self.kube.patch("pods", names.scheduler("c"), gone, self.controller.namespace)

    async def scheduler_is_ready(self) -> None:
        pod = names.scheduler("c")
        self.kube.patch("pods", pod, {"status": RUNNING}, self.controller.namespace, subresource="status")
        await self.passes(0)

    def told(self) -> list[float | None]:
        """Return how many starts were measured, and their seconds."""
        registry = self.controller.metrics.registry
        name = "dask_controller_cluster_start_seconds"
        return [registry.get_sample_value(f"{name}_{what}") for what in ("count", "sum")]


async def test_a_start_takes_from_its_creation(by_hand: ControllerByHand) -> None:
    start = Start(by_hand)
    await start.passes(20)
    assert start.told() == [0, 0]
    await start.scheduler_is_ready()
    await start.passes(60)
    assert start.told() == [1, 20]


async def test_while_it_is_suspended_it_does_not_start(by_hand: ControllerByHand) -> None:
    start = Start(by_hand, suspend=True)
    await start.passes(3600)
    start.user_sets(suspend=False)
    await start.passes(20)
    await start.scheduler_is_ready()
    assert start.told() == [1, 20]


async def test_what_was_suspended_again_begins_anew(by_hand: ControllerByHand) -> None:
    start = Start(by_hand)
    await start.passes(600)
    start.user_sets(suspend=True)
    await start.passes(3600)
    start.user_sets(suspend=False)
    await start.passes(5)
    await start.scheduler_is_ready()
    assert start.told() == [1, 5]


async def test_while_a_queue_holds_it_back_it_does_not_start(by_hand: ControllerByHand) -> None:
    gated = [{"name": "queue.example.com/admission"}]
    start = Start(by_hand, scheduler={"spec": pod_spec("scheduler", schedulingGates=gated)})
    await start.passes(3600)
    start.queue_lets_in()
    await start.passes(20)
    await start.scheduler_is_ready()
    assert start.told() == [1, 20]


async def test_a_later_suspension_of_what_was_ready_is_no_start(by_hand: ControllerByHand) -> None:
    start = Start(by_hand)
    await start.passes(20)
    await start.scheduler_is_ready()
    start.user_sets(suspend=True)
    await start.passes(3600)
    start.user_sets(suspend=False)
    await start.passes(900)
    await start.scheduler_is_ready()
    assert start.told() == [1, 20]
