"""What a cluster's start waits for, for how long, and what it says when that is in vain."""

from __future__ import annotations

from typing import Any

import pytest

from dask_k8s_client import startup
from dask_k8s_client.errors import (
    ClusterNotFoundError,
    ControllerTimeoutError,
    ForbiddenError,
    KubeClusterError,
    ResourceTimeoutError,
    SchedulerStartupError,
)
from dask_k8s_client.observe import Observed
from dask_k8s_client.wait import LONGEST_PULL, Patience
from tests.unit.client.objects import (
    READY,
    by_name,
    cluster,
    conditions,
    crashed,
    observed,
    scheduler_pod,
    service,
    unschedulable,
    waiting,
    warning,
)

Json = dict[str, Any]


def with_scheduler(**status: Any) -> Observed:
    return observed(pods=by_name(scheduler_pod(**status)))


def failure(seen: Observed) -> KubeClusterError:
    stage = startup.stage(seen)
    assert stage is not None
    return startup.failure(seen, stage, 60)


@pytest.mark.parametrize(
    ("seen", "waiting_for"),
    [
        (observed(cluster=cluster(phase="")), "controller to action cluster"),
        (observed(), "scheduler pod"),
        (with_scheduler(), "scheduler pod"),
        (with_scheduler(**READY), "scheduler service"),
        (
            observed(pods=by_name(scheduler_pod(**READY)), service=service("LoadBalancer")),
            "scheduler service",
        ),
    ],
)
def test_stages_come_in_order(seen: Observed, waiting_for: str) -> None:
    stage = startup.stage(seen)
    assert stage is not None
    assert stage.waiting_for == waiting_for


@pytest.mark.parametrize(
    "found",
    [service(), service("NodePort"), service("LoadBalancer", loadBalancer={"ingress": [{"ip": "1.2.3.4"}]})],
)
def test_then_it_can_be_connected_to(found: Json) -> None:
    assert startup.stage(observed(pods=by_name(scheduler_pod(**READY)), service=found)) is None


def test_without_a_controller_the_error_asks_for_it() -> None:
    error = failure(observed(cluster=cluster(phase="")))
    assert isinstance(error, ControllerTimeoutError)
    assert isinstance(error, TimeoutError)
    assert "is the Dask Operator running?" in str(error)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (unschedulable("0/1 nodes are available: 1 Insufficient cpu."), "1 Insufficient cpu"),
        (waiting("ImagePullBackOff", 'Back-off pulling image "nope"'), 'pulling image "nope"'),
        (crashed("exec: dask-scheduler: not found", code=127), "use `dask scheduler`"),
        (crashed(code=1), "exit code 1"),
    ],
)
def test_a_scheduler_that_cannot_run_is_told_with_its_reason(status: Json, text: str) -> None:
    error = failure(with_scheduler(**status))
    assert isinstance(error, SchedulerStartupError)
    assert str(error).startswith("Scheduler failed to start.")
    assert text in str(error)


def test_warnings_explain_a_pod_that_is_merely_pending() -> None:
    seen = observed(
        pods=by_name(scheduler_pod(phase="Pending")),
        events={"e": warning("FailedMount", 'secret "x" not found')},
    )
    assert 'FailedMount: secret "x" not found' in str(failure(seen))


def test_the_operator_tells_why_there_is_no_pod() -> None:
    condition = {
        "type": "SchedulerReady",
        "status": "False",
        "reason": "FailedCreate",
        "message": 'pods "foo-scheduler" is forbidden: exceeded quota: small',
    }
    error = failure(observed(cluster=cluster(phase="Pending", conditions=[condition])))
    assert "exceeded quota: small" in str(error)
    assert "ResourceQuota" in str(error)


def test_a_load_balancer_without_address_is_a_timeout() -> None:
    error = failure(observed(pods=by_name(scheduler_pod(**READY)), service=service("LoadBalancer")))
    assert isinstance(error, ResourceTimeoutError)
    assert "LoadBalancer" in str(error)


def test_a_suspended_cluster_is_told() -> None:
    suspended = {**cluster(phase="Pending"), "spec": {"suspend": True}}
    assert "spec.suspend" in str(failure(observed(cluster=suspended)))


def test_a_deleted_cluster_is_not_waited_for() -> None:
    assert isinstance(startup.definite_failure(observed(cluster=None)), ClusterNotFoundError)


def test_what_we_may_not_see_is_not_waited_for() -> None:
    error = startup.definite_failure(observed(refusals={"pods": ForbiddenError("pods is forbidden", 403)}))
    assert isinstance(error, PermissionError)
    assert startup.definite_failure(observed(refusals={"events": ForbiddenError("no", 403)})) is None


class Clock:
    """A clock that only a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_progress_restarts_the_time_limit() -> None:
    clock = Clock()
    patience = Patience(60, clock)
    clock.now = 50
    assert patience.left(observed(cluster=cluster(phase=""))) == 10
    assert patience.left(observed()) == 60
    clock.now = 100
    assert patience.left(with_scheduler(phase="Pending")) == 60
    clock.now = 130
    assert patience.left(with_scheduler(phase="Pending", conditions=conditions("PodScheduled"))) == 60


def test_what_was_reached_before_is_no_progress() -> None:
    clock = Clock()
    patience = Patience(60, clock)
    starting = {"phase": "Running", "containerStatuses": [{"name": "scheduler", "state": {"running": {}}}]}
    for clock.now in (0, 20, 40, 59):
        patience.left(with_scheduler(**starting))
        left = patience.left(with_scheduler(**crashed()))
    assert left <= 1


def test_the_limit_stands_still_while_an_image_is_pulled() -> None:
    clock = Clock()
    patience = Patience(60, clock)
    pulling = waiting("ContainerCreating") | {
        "conditions": conditions("PodScheduled", "PodReadyToStartContainers")
    }
    for clock.now in (0, 500, LONGEST_PULL - 1):
        assert patience.left(with_scheduler(**pulling)) == 60
    clock.now = LONGEST_PULL + 61
    assert patience.left(with_scheduler(**pulling)) < 0


def test_what_could_not_be_looked_at_is_told() -> None:
    seen = observed(
        pods=by_name(scheduler_pod(phase="Pending")),
        refusals={"events": ForbiddenError("events is forbidden", 403)},
    )
    assert "events is forbidden" in str(failure(seen))
