"""The status of an autoscaler: a pure function of what was observed, planned, and became of the plan."""

from __future__ import annotations

from typing import Any

from dask_k8s_controller.autoscaler.observe import ObservedAutoscaler
from dask_k8s_controller.autoscaler.plan import AutoscalerPlan, Decision
from dask_k8s_controller.autoscaler.policy import Limit
from dask_k8s_controller.plans.actions import Outcome, Remark
from dask_k8s_controller.plans.conditions import Condition, remarks_of, summary, written
from dask_k8s_models.autoscaler import AutoscalerSpec
from dask_k8s_models.scalars import to_time

Status = dict[str, Any]


def autoscaler_status(
    observed: ObservedAutoscaler,
    planned: AutoscalerPlan,
    outcome: Outcome | None = None,
    *,
    was_scaled: bool = False,
) -> Status:
    """The status of an autoscaler.

    Parameters
    ----------
    observed : ObservedAutoscaler
        What the plan was made from.
    planned : AutoscalerPlan
        The plan.
    outcome : Outcome, optional
        What became of its writes.
    was_scaled : bool
        The group was set to the planned replicas.
    """
    previous, meta = observed.autoscaler.status, observed.autoscaler.meta
    decision = planned.decision
    remarks = [*planned.plan.remarks, *remarks_of(outcome or Outcome())]
    waiting = Remark("WaitingForScheduler", "The scheduler is asked how many workers it could use.")
    conditions = [*summary(decision is not None and not remarks, remarks, waiting)]
    if decision is not None and observed.autoscaler.spec is not None:
        conditions += [_able_to_scale(decision, observed.autoscaler.spec), _limited(decision)]
    status: Status = {
        "observedGeneration": meta.generation,
        "conditions": written(conditions, previous, meta.generation, observed.now),
    }
    if decision is not None:
        status["desiredReplicas"] = decision.want.replicas
    if observed.target is not None:
        status["currentReplicas"] = observed.replicas
        if observed.was_changed:
            status["lastScaleTime"] = observed.now.isoformat()
    if was_scaled and planned.scale is not None:
        status["currentReplicas"] = planned.scale.replicas
        status["lastScaleTime"] = observed.now.isoformat()
    return {
        **{key: previous[key] for key in ("desiredReplicas", "lastScaleTime") if key in previous},
        **status,
    }


def _able_to_scale(decision: Decision, spec: AutoscalerSpec) -> Condition:
    offered = f", and others have {decision.others}" if decision.others else ""
    wish = f"{decision.want.replicas} wanted: the scheduler could use {decision.demand} workers{offered}."
    if decision.waits_until is None:
        return Condition("AbleToScale", True, "ReadyForNewScale", wish)
    is_growth = decision.want.replicas > decision.step.replicas
    behavior, which = (spec.scale_up(), "scaleUp") if is_growth else (spec.scale_down(), "scaleDown")
    wait = (
        f" The next change comes after {to_time(decision.waits_until)}: spec.behavior.{which}."
        f"stabilizationWindowSeconds is {behavior.stabilizationWindowSeconds}."
    )
    return Condition("AbleToScale", False, f"{which[0].upper()}{which[1:]}Stabilized", wish + wait)


_LIMITS = {
    Limit.NONE: "The number of workers follows the demand.",
    Limit.MINIMUM: "The demand is below spec.minimum.",
    Limit.MAXIMUM: "The demand is above spec.maximum.",
    Limit.SCALE_UP_STEP: "The number grows by steps of spec.behavior.scaleUp.maxPercent.",
    Limit.SCALE_DOWN_STEP: "The number shrinks by steps of spec.behavior.scaleDown.maxPercent.",
    Limit.BUSY: "The workers that could go are running tasks.",
    Limit.RESULTS_HELD: "The last worker stays: it holds results.",
}


def _limited(decision: Decision) -> Condition:
    limit = decision.limit
    is_limited = limit is not Limit.NONE
    return Condition("ScalingLimited", is_limited, limit.value or "DesiredWithinRange", _LIMITS[limit])
