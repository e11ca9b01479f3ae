"""The status of an autoscaler: a pure function of what was observed, planned, and became of the plan."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dask_k8s_controller.autoscaler.observe import ObservedAutoscaler
from dask_k8s_controller.autoscaler.plan import AutoscalerPlan, Decision, wanted_now
from dask_k8s_controller.autoscaler.policy import Limit
from dask_k8s_controller.autoscaler.spec import Autoscaler
from dask_k8s_controller.autoscaler.workforce import GroupOfWorkers, Workforce
from dask_k8s_controller.plans.actions import Outcome, Remark, SetScale
from dask_k8s_controller.plans.conditions import Condition, Status, stated, summary
from dask_k8s_controller.plans.notices import Notice, changes
from dask_k8s_controller.scheduler.answers import Need, Problem, amounts
from dask_k8s_models.autoscaler import AutoscalerSpec
from dask_k8s_models.scalars import to_time


def status(observed: ObservedAutoscaler, plan: AutoscalerPlan, outcome: Outcome) -> Status:
    """The status of an autoscaler."""
    previous = observed.subject.status
    decision = plan.decision
    remarks = [*plan.remarks, *outcome.remarks]
    waiting = Remark("WaitingForScheduler", "The scheduler is asked how many workers it could use.")
    conditions = [*summary(decision is not None and not remarks, remarks, waiting)]
    if decision is not None and observed.subject.spec is not None:
        conditions += [_able_to_scale(decision, observed.subject.spec), _limited(decision)]
        conditions += _unsatisfiable(plan.observed.workforce.unsatisfiable, observed.subject)
        conditions += _resources_differ(plan.observed.workforce, observed.subject)
    status: Status = {key: previous[key] for key in ("desiredReplicas", "lastScaleTime") if key in previous}
    status |= stated(observed, conditions)
    if decision is not None:
        status["desiredReplicas"] = decision.want.replicas
        status |= _worker_resources(plan.observed.workforce, observed.subject)
    scale = _has_scaled(plan, outcome)
    if observed.target is not None:
        status["currentReplicas"] = scale.replicas if scale else observed.replicas
    if observed.was_changed or scale:
        status["lastScaleTime"] = observed.now.isoformat()
    return status


def is_up_to_date(member: GroupOfWorkers, workforce: Workforce) -> bool:
    """Whether an autoscaler has nothing to do and nothing to tell, after the scheduler's last answer."""
    autoscaler, answer = member.autoscaler, workforce.demand
    if autoscaler is None or autoscaler.spec is None or answer is None:
        return True
    ready = autoscaler.condition("Ready").get("reason")
    if answer.problem is not Problem.NONE:
        return bool(ready == answer.problem.value)
    want = wanted_now(workforce, member.group.name, autoscaler.spec).replicas
    told = [
        *_unsatisfiable(workforce.unsatisfiable, autoscaler),
        *_resources_differ(workforce, autoscaler),
    ]
    return (
        ready == "Ready"
        and want == member.group.replicas == autoscaler.status.get("desiredReplicas")
        and all(autoscaler.condition(one.type).get("message") == one.message for one in told)
    )


def notices(
    observed: ObservedAutoscaler, plan: AutoscalerPlan, outcome: Outcome, status: Status
) -> Iterable[Notice]:
    """Find what is worth an Event: a group that was scaled, and what a person must act upon."""
    if scale := _has_scaled(plan, outcome):
        before = plan.observed.replicas
        message = f"{scale.name} has {scale.replicas} workers now, before {before}."
        if plan.decision and plan.decision.share.needs and scale.replicas > before:
            message += f" There are {_told(plan.decision.share.needs)}."
        yield Notice("SuccessfulRescale", message)
    yield from (notice for notice in changes(observed.subject.status, status) if notice.is_warning)


def _has_scaled(plan: AutoscalerPlan, outcome: Outcome) -> SetScale | None:
    scales = (action for action in plan.actions if isinstance(action, SetScale))
    return next(scales, None) if outcome.is_complete else None


def _able_to_scale(decision: Decision, spec: AutoscalerSpec) -> Condition:
    share = decision.share
    offered = f", and others have {share.others}" if share.others else ""
    needs = f" for {_told(share.needs)}" if share.needs else ""
    wish = f"{decision.want.replicas} wanted: the scheduler could use {share.demand} workers{needs}{offered}."
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
    Limit.RESULTS_HELD: "Workers stay that hold results which no other could take over.",
}


def _limited(decision: Decision) -> Condition:
    limit = decision.limit
    is_limited = limit is not Limit.NONE
    return Condition("ScalingLimited", is_limited, limit.value or "DesiredWithinRange", _LIMITS[limit])


def _unsatisfiable(needs: Sequence[Need], autoscaler: Autoscaler) -> list[Condition]:
    """Tell of tasks that no group can ever run; nothing before there was one."""
    if needs:
        message = f"No group of the cluster can run {_told(needs)}."
        return [Condition("Unsatisfiable", True, "NoGroupOffers", message)]
    was_told = autoscaler.condition("Unsatisfiable")
    return [Condition("Unsatisfiable", False, "GroupsOffer")] if was_told else []


def _worker_resources(workforce: Workforce, autoscaler: Autoscaler) -> Status:
    """What is remembered when the group has no workers: else it would start and stop for ever."""
    offered = workforce.contradiction(autoscaler.worker_group)
    if offered is None:
        return {}
    group = workforce.members[autoscaler.worker_group].group
    return {"workerResources": dict(offered), "workerResourcesOf": group.offers}


def _resources_differ(workforce: Workforce, autoscaler: Autoscaler) -> list[Condition]:
    """Tell of workers that don't offer what their group's spec says; nothing before there was one."""
    offered = workforce.contradiction(autoscaler.worker_group)
    if offered is not None:
        said = workforce.members[autoscaler.worker_group].group.resources
        message = f"The workers offer {amounts(offered)}, and the group's spec says {amounts(said)}."
        return [Condition("ResourcesDiffer", True, "WorkersOfferOther", message)]
    was_told = autoscaler.condition("ResourcesDiffer")
    return [Condition("ResourcesDiffer", False, "WorkersOfferThem")] if was_told else []


def _told(needs: Iterable[Need]) -> str:
    """Tell how many tasks need what."""
    parts = []
    for need in needs:
        count = need.waiting + need.running + need.coming
        what = "a particular worker or host" if need.is_pinned else str(need)
        parts.append(f"{count} {'task that needs' if count == 1 else 'tasks that need'} {what}")
    return ", ".join(parts)
