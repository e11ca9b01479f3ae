"""What the status of an autoscaler says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dask_k8s_controller.autoscaler.observe import ObservedAutoscaler
from dask_k8s_controller.autoscaler.status import is_up_to_date
from dask_k8s_controller.autoscaler.status import status as autoscaler_status
from dask_k8s_controller.autoscaler.workforce import GroupOfWorkers
from dask_k8s_controller.cache.objects import moment
from dask_k8s_controller.plans.actions import Failure, Outcome
from dask_k8s_controller.scheduler.answers import Need, Problem
from dask_k8s_controller.worker_group.spec import WorkerGroup
from dask_k8s_models import labels
from dask_k8s_models.autoscaler import AutoscalerStatus
from tests.unit.controller.autoscaling.builders import (
    autoscaler,
    changed,
    demand,
    heard,
    no_demand,
    observed,
    plan,
    scaled_to,
    with_members,
)
from tests.unit.controller.builders import NOW, answer, group_body, time, worker, worker_pod

DONE = Outcome()


def status(seen: ObservedAutoscaler, outcome: Outcome = DONE) -> dict[str, Any]:
    written = autoscaler_status(seen, plan(seen), outcome)
    AutoscalerStatus.model_validate(written)
    return written


def conditions(seen: ObservedAutoscaler, outcome: Outcome = DONE) -> dict[str, tuple[str, str, str]]:
    return {
        item["type"]: (item["status"], item["reason"], item["message"])
        for item in status(seen, outcome)["conditions"]
    }


def test_it_tells_what_it_wants_and_what_there_is() -> None:
    written = status(with_members(autoscaler(), 10, 4))
    assert (written["desiredReplicas"], written["currentReplicas"]) == (10, 10)
    assert moment(written["lastScaleTime"]) == NOW


def test_it_tells_why_it_waits() -> None:
    seen = with_members(autoscaler(status=changed(9, replicas=4)), 10, 4)
    assert status(seen)["desiredReplicas"] == 10
    assert status(seen)["currentReplicas"] == 4
    assert status(seen)["lastScaleTime"] == time(-9)
    able = conditions(seen)["AbleToScale"]
    assert able[:2] == ("False", "ScaleUpStabilized")
    assert "10 wanted" in able[2]
    assert "after 2026-11-23T12:00:06Z" in able[2]
    assert conditions(seen)["Ready"][0] == "True"


def test_it_tells_what_limits_it() -> None:
    limited = conditions(with_members(autoscaler(maximum=6), 10, 6))["ScalingLimited"]
    assert limited[:2] == ("True", "TooManyReplicas")
    limited = conditions(with_members(autoscaler(), 0, 8, busy=8))["ScalingLimited"]
    assert limited[:2] == ("True", "WorkersBusy")
    assert conditions(observed())["ScalingLimited"][:2] == ("False", "DesiredWithinRange")


def test_a_silent_scheduler_is_no_reason_to_forget() -> None:
    before = {**changed(60, replicas=4), "desiredReplicas": 9}
    seen = observed(autoscaler(status=before), demand=no_demand(Problem.UNREACHABLE))
    assert status(seen)["desiredReplicas"] == 9
    assert status(seen)["lastScaleTime"] == time(-60)
    found = conditions(seen)
    assert found["Ready"][:2] == ("False", "SchedulerUnreachable")
    assert found["Reconciling"][0] == "True"
    assert found["Stalled"][0] == "False"


def test_without_its_group_there_is_no_number() -> None:
    written = status(observed(target=None))
    assert not written.keys() & {"desiredReplicas", "currentReplicas", "lastScaleTime"}
    assert conditions(observed(target=None))["Ready"][:2] == ("False", "WorkerGroupNotFound")


def test_a_refused_change_is_told() -> None:
    refused = Outcome(
        (Failure("Refused", "DaskWorkerGroup c-default: forbidden: no scale", needs_a_person=True),)
    )
    found = conditions(with_members(autoscaler(), 10, 4), outcome=refused)
    assert found["Stalled"][:2] == ("True", "Refused")
    assert "forbidden: no scale" in found["Stalled"][2]


def test_a_change_by_somebody_else_is_noted() -> None:
    seen = with_members(autoscaler(status=changed(60, replicas=2)), 4, 4)
    assert moment(status(seen)["lastScaleTime"]) == NOW
    assert status(seen)["currentReplicas"] == 4


def test_workers_that_offer_something_else_are_told_of_and_remembered() -> None:
    """Else a group at zero would start for a task that its workers never run, again and again."""
    body = group_body("c-gpu", uid="c-gpu", resources={"GPU": 1}, replicas=1)
    group = WorkerGroup.of(body)
    made_so = {labels.OFFERS: group.offers}
    pod = worker_pod(
        "w", group="c-gpu", owner=("DaskWorkerGroup", "c-gpu"), ip="10.0.0.1", annotations=made_so
    )
    scaler = autoscaler(workerGroup="c-gpu")
    needs = Need({"GPU": 1}, waiting=1, slots=1)
    other = worker("10.0.0.1:1", resources={"gpu": 1}, threads=1)
    seen = observed(
        scaler, target=GroupOfWorkers(group, (pod,)), workers=answer(other), demand=demand(0, needs)
    )
    assert conditions(seen)["ResourcesDiffer"] == (
        "True",
        "WorkersOfferOther",
        "The workers offer gpu=1, and the group's spec says GPU=1.",
    )
    written = status(seen)
    assert written["workerResources"] == {"gpu": 1}
    assert not is_up_to_date(seen.workforce.members["c-gpu"], seen.workforce)

    def at_zero(**more: Any) -> ObservedAutoscaler:
        gone = WorkerGroup.of(
            group_body("c-gpu", uid="c-gpu", **{"resources": {"GPU": 1}, "replicas": 0, **more})
        )
        after = autoscaler(workerGroup="c-gpu", status={**written, **changed(60, replicas=0)})
        return observed(after, target=GroupOfWorkers(gone), workers=None, demand=demand(0, needs))

    assert scaled_to(plan(at_zero())) is None
    assert "workerResources" in status(at_zero())
    assert scaled_to(plan(at_zero(resources={"GPU": 1, "X": 1}))) == 1  # The spec was changed.
    told = observed(
        autoscaler(workerGroup="c-gpu", status=written),
        target=GroupOfWorkers(group, (pod,)),
        workers=answer(replace(other, resources={"GPU": 1.0})),
        demand=demand(0, needs),
    )
    assert conditions(told)["ResourcesDiffer"][:2] == ("False", "WorkersOfferThem")
    assert "workerResources" not in status(told)
    earlier = replace(pod, meta=replace(pod.meta, annotations={}))
    made_before = observed(scaler, target=GroupOfWorkers(group, (earlier,)), workers=answer(other))
    assert "ResourcesDiffer" not in conditions(made_before)


def test_nothing_is_written_while_nothing_changes() -> None:
    first = with_members(autoscaler(), 4, 4)
    again = heard(replace(first, subject=autoscaler(status=status(first))), demand=demand(4, age=4))
    assert status(again) == status(first)
