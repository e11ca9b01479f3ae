"""How the controller is run: replicas of which one acts, and a request to stop."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from dask_k8s_controller.settings import LeaderElection, Settings
from dask_k8s_controller.watching import handlers
from dask_k8s_local.api import Request
from tests.conformance.waiting import eventually
from tests.harness.breaking import asked, is_the_controllers
from tests.harness.flows import CLUSTERS, Shape, await_shape, create, of, pods_created_since, version_of_pods
from tests.harness.hasty import HASTY, HastyController
from tests.harness.kube import Object
from tests.harness.lab import Lab, Stage
from tests.unit.controller.builders import cluster_body

LEASES = "leases.coordination.k8s.io"
LEASE = "lease"


def electing(stage: Stage, duration: float) -> Settings:
    election = LeaderElection(
        enabled=True, name=LEASE, namespace=stage.namespace, duration=duration, renewal=0.2
    )
    return replace(HASTY, leader_election=election)


@pytest.fixture
def replica(lab: Lab, stage: Stage) -> Iterator[HastyController]:
    """One of several controllers, whose leader is replaced after 30 s of silence."""
    with lab.controller(stage.namespace, settings=electing(stage, duration=30)) as controller:
        yield controller


def other_holder(stage: Stage, than: str = "") -> str:
    """Wait until another replica leads, and return which."""

    def has_other(lease: Object) -> bool:
        return lease["spec"].get("holderIdentity", "") not in ("", than)

    lease = stage.kube.wait(LEASES, LEASE, stage.namespace, until=has_other, timeout=25)
    return str(lease["spec"]["holderIdentity"])


def test_a_leader_that_stops_hands_over_at_once(lab: Lab, stage: Stage, replica: HastyController) -> None:
    leader = other_holder(stage)
    with lab.controller(stage.namespace, settings=electing(stage, duration=30)):
        assert replica.end(signal.SIGTERM) == 0
        other_holder(stage, than=leader)


@pytest.mark.usefixtures("replica")
def test_only_one_of_two_replicas_writes(lab: Lab, stage: Stage) -> None:
    version = version_of_pods(stage)
    with lab.controller(stage.namespace, settings=electing(stage, duration=30)):
        create(2)(stage)
        await_shape(stage, Shape(of(2)))
        assert len(pods_created_since(stage, version)) == 3


def list_in_small_parts() -> None:
    handlers.PART = 2


def test_what_there_is_much_of_is_listed_in_parts(lab: Lab, stage: Stage) -> None:
    names = [f"c{number}" for number in range(5)]
    for name in names:
        body = cluster_body(name, suspend=True)
        stage.kube.create({**body, "metadata": {"name": name}}, stage.namespace)
    begun = len(lab.faults.log)
    with lab.controller(stage.namespace, before=list_in_small_parts):
        for name in names:
            stage.kube.wait(
                CLUSTERS, name, stage.namespace, until=lambda found: "conditions" in found["status"]
            )
    asks = [asked(request) for request in lab.faults.log[begun:] if is_the_controllers(request)]
    assert asks.count("list daskclusters") == 3


@contextlib.contextmanager
def slow_writes(lab: Lab) -> Iterator[None]:
    fault = lab.faults.delay(
        lambda: 0.2, when=lambda request: request.is_write and is_the_controllers(request)
    )
    yield
    lab.faults.remove(fault)


def test_a_request_to_stop_lets_writes_finish(lab: Lab, stage: Stage) -> None:
    with lab.controller(stage.namespace) as controller:
        create(2)(stage)
        await_shape(stage, Shape(of(2)))
        version, begun = version_of_pods(stage), len(lab.faults.log)
        with slow_writes(lab):
            lab_of_four = {"spec": {"worker": {"replicas": 4}}}
            stage.kube.patch("daskclusters.kubernetes.dask.org", "flow", lab_of_four, stage.namespace)
            stage.kube.wait_all("pods", stage.namespace, until=lambda pods: len(pods) > 3)
            assert controller.end(signal.SIGTERM) == 0
        sent = [asked(request) for request in lab.faults.log[begun:] if request.namespace == stage.namespace]
        created = sent.count("create pods")
        assert len(stage.kube.list("pods", stage.namespace)) == 3 + created
        controller.start()
        await_shape(stage, Shape(of(4)))
        assert len(pods_created_since(stage, version)) == 2


def test_a_leader_that_can_not_renew_changes_nothing_more_when_another_may_lead(
    lab: Lab, stage: Stage
) -> None:
    duration = 2.0

    def is_of_the_lease(request: Request) -> bool:
        return request.resource.startswith("leases") and request.namespace == stage.namespace

    with lab.controller(stage.namespace, settings=electing(stage, duration)):
        create(10_000)(stage)
        stage.kube.wait_all("pods", stage.namespace, until=lambda pods: len(pods) > 100)
        refused = lab.faults.fail(500, when=is_of_the_lease)
        eventually(lambda: refused.hits, until=bool)
        since = time.monotonic()
        # A second for what was sent before and has yet to arrive.
        eventually(lambda: time.monotonic() - since, until=lambda seconds: seconds > duration + 1)
        begun, hits = len(lab.faults.log), refused.hits
        eventually(lambda: refused.hits, until=lambda now: now > hits + 5)
        after = [request for request in lab.faults.log[begun:] if is_the_controllers(request)]
        assert [request for request in after if is_of_the_lease(request)]
        assert not [request for request in after if request.is_write and not is_of_the_lease(request)]
        pods = len(stage.kube.list("pods", stage.namespace))
        assert pods < 10_000
        lab.faults.remove(refused)
        stage.kube.wait_all("pods", stage.namespace, until=lambda found: len(found) > pods)
