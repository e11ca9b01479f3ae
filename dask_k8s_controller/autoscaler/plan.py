"""What to do next about a DaskAutoscaler: a pure function of what was observed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from dask_k8s_controller.autoscaler.needs import Share
from dask_k8s_controller.autoscaler.observe import ObservedAutoscaler
from dask_k8s_controller.autoscaler.policy import Limit, Loss, Step, grow, shrink, wanted
from dask_k8s_controller.autoscaler.workforce import GroupOfWorkers, Workforce
from dask_k8s_controller.plans.actions import Ask, SetScale
from dask_k8s_controller.plans.ownership import adopt, is_of_an_earlier_owner
from dask_k8s_controller.plans.plan import Plan
from dask_k8s_controller.scheduler.answers import Problem, is_busy
from dask_k8s_controller.settings import Policy
from dask_k8s_models.autoscaler import AutoscalerSpec
from dask_k8s_models.scalars import MAX_WORKERS


@dataclass(frozen=True)
class Decision:
    """What an autoscaler wants, and what it waits for."""

    want: Step
    """The replicas that the demand asks for, within the bounds."""
    step: Step
    """The replicas that come next."""
    share: Share
    """What it is based on."""
    waits_until: datetime | None = None
    """When the number may change again."""

    @property
    def limit(self) -> Limit:
        """What keeps the next step from being what the demand asks for."""
        return self.step.limit if self.step.limit is not Limit.NONE else self.want.limit


@dataclass
class AutoscalerPlan(Plan[ObservedAutoscaler]):
    """What to do next about an autoscaler."""

    decision: Decision | None = None
    """What it is based on; None without an answer of the scheduler."""


def plan(observed: ObservedAutoscaler, policy: Policy) -> AutoscalerPlan:
    """Decide what to do next about an autoscaler."""
    draft = AutoscalerPlan(observed, policy)
    autoscaler, cluster, target = observed.subject, observed.cluster, observed.target
    if autoscaler.spec is None:
        draft.remark("InvalidSpec", autoscaler.problem, needs_a_person=True)
    elif cluster is None:
        draft.remark("ClusterNotFound", f"Waiting for the DaskCluster {autoscaler.cluster}.")
    elif cluster.meta.is_deleting or is_of_an_earlier_owner(autoscaler, cluster):
        draft.remark("ClusterTerminating", f"The DaskCluster {autoscaler.cluster} is being deleted.")
    else:
        adopt(draft, autoscaler, cluster)
        if target is None or target.group.meta.is_deleting:
            draft.remark("WorkerGroupNotFound", f"Waiting for the DaskWorkerGroup {autoscaler.worker_group}.")
        elif target.group.cluster != autoscaler.cluster:
            draft.remark(
                "WorkerGroupOfAnotherCluster",
                f"The DaskWorkerGroup {target.group.name} belongs to the DaskCluster {target.group.cluster}, "
                f"not to {autoscaler.cluster}: change spec.workerGroup or spec.cluster.",
                needs_a_person=True,
            )
        elif observed.predecessor is not None:
            draft.remark(
                "GroupHasAutoscaler",
                f"The DaskAutoscaler {observed.predecessor.name} scales the DaskWorkerGroup "
                f"{target.group.name} already: delete one of the two.",
                needs_a_person=True,
            )
        elif cluster.is_suspended:
            draft.remark("Suspended", f"The DaskCluster {cluster.name} is suspended.")
        elif observed.scheduler is None or not observed.scheduler.is_ready:
            draft.remark(
                "SchedulerNotReady", "Waiting for the scheduler, which has to say what there is to do."
            )
        else:
            _follow_demand(draft, autoscaler.spec, target)
    return draft


def wanted_now(workforce: Workforce, name: str, spec: AutoscalerSpec) -> Step:
    """Say how many replicas a group of the workforce should have, after the scheduler's last answer."""
    group, share = workforce.groups[name], workforce.shares[name]
    more, fewer = (
        min(math.ceil(workers / group.per_pod), MAX_WORKERS) for workers in (share.grow_to, share.shrink_to)
    )
    return wanted(spec, group.replicas, more, fewer)


def _follow_demand(draft: AutoscalerPlan, spec: AutoscalerSpec, target: GroupOfWorkers) -> None:
    observed, policy, answer = draft.observed, draft.policy, draft.observed.workforce.demand
    workforce, name = observed.workforce, target.group.name
    if observed.workers is None and target.ready:
        draft.ask(Ask.WORKERS)  # Several workers may run in a pod.
    if answer is None:
        draft.ask(Ask.DEMAND)
        return
    age = answer.age(observed.monotonic)
    if answer.problem is not Problem.NONE or answer.value is None:
        draft.remark(
            answer.problem.value,
            f"The number of workers stays as it is: {answer.message}",
            needs_a_person=answer.problem is Problem.NO_ROUTE,
        )
        if observed.asks_for_all:
            draft.ask_after(policy.scheduler_retry - age, Ask.DEMAND)
        return
    if observed.asks_for_all:
        draft.ask_after(policy.demand_poll - age, Ask.DEMAND)
    want = wanted_now(workforce, name, spec)
    may_change_at = _may_change_at(observed, spec, want.replicas)
    draft.decision = Decision(want, Step(observed.replicas), workforce.shares[name], may_change_at)
    if want.replicas == observed.replicas:
        return
    if may_change_at is not None:
        draft.requeue_no_later_than(may_change_at)
        return
    changed_at = observed.changed_at
    if changed_at is not None and age >= (observed.now - changed_at).total_seconds():
        return  # It was said before the last change: nothing is decided on it twice.
    if age > policy.answer_age:
        draft.ask(Ask.DEMAND)
        return
    step = _next_step(draft, spec, target, want.replicas)
    if step is not None:
        draft.decision = replace(draft.decision, step=step, waits_until=None)
        if step.replicas != observed.replicas:
            draft.actions.append(SetScale(target.group.kind, name, step.replicas, target.group.meta.version))


def _may_change_at(observed: ObservedAutoscaler, spec: AutoscalerSpec, want: int) -> datetime | None:
    """When the stabilization window ends; None if it has, or doesn't matter."""
    replicas = observed.replicas
    is_out_of_bounds = replicas < spec.minimum or (spec.maximum is not None and replicas > spec.maximum)
    if observed.changed_at is None or want == replicas or is_out_of_bounds:
        return None
    behavior = spec.scale_up() if want > replicas else spec.scale_down()
    due = observed.changed_at + timedelta(seconds=behavior.stabilizationWindowSeconds)
    return due if due > observed.now else None


def _next_step(draft: AutoscalerPlan, spec: AutoscalerSpec, target: GroupOfWorkers, want: int) -> Step | None:
    """Return the next step; None while it isn't known what it would cost."""
    observed, demand = draft.observed, draft.observed.workforce.demand
    if want > observed.replicas:
        return grow(spec, observed.replicas, want)
    loss = _loss(draft, target)
    if loss is None or demand is None or observed.workers is None:
        return None
    if demand.at < observed.workers.at:
        # Workers say what they do by heartbeats, the demand knows it all: the last word is the demand's.
        draft.ask(Ask.DEMAND)
        return None
    # Workers that only some tasks need are dear: they go by steps only if somebody has said so.
    takes_the_rest = observed.workforce.shares[target.group.name].takes_the_rest
    is_stepwise = takes_the_rest or bool(spec.behavior and spec.behavior.scaleDown)
    return shrink(spec, observed.replicas, want, loss, is_stepwise=is_stepwise)


def _loss(draft: AutoscalerPlan, target: GroupOfWorkers) -> Loss | None:
    observed, answer = draft.observed, draft.observed.workers
    if answer is None or answer.age(observed.monotonic) > draft.policy.demand_poll:
        draft.ask(Ask.WORKERS)
        return None
    if answer.problem is not Problem.NONE or answer.value is None:
        draft.remark(
            answer.problem.value, f"It isn't known which workers have nothing to do: {answer.message}"
        )
        return None
    workers = observed.workforce.attribution
    # Pods whose nodes are about to go serve until their successors, which are no replicas of their own, do.
    serving = sum(map(workers.may_have_workers, target.active))
    return Loss(
        unused=max(0, observed.replicas - serving),
        busy=_busy(observed.workforce, target),
        holding=_holding(observed.workforce, target),
    )


def _busy(workforce: Workforce, target: GroupOfWorkers) -> int:
    """Count the pods that run tasks: where others are to run them, only as many as have tasks of their own.

    What else they run they finish, as they are drained when they go.
    """
    found = [workforce.attribution.of(pod) for pod in target.active]
    busy = [workers for workers in found if is_busy(workers)]
    demand = workforce.demand.value if workforce.demand else None
    if workforce.shares[target.group.name].takes_the_rest or demand is None:
        return len(busy)
    can_drain = [workers for workers in busy if all(worker.can_drain for worker in workers)]
    group = workforce.groups[target.group.name]
    own = sum(need.running for need in demand.needs or () if need.is_pinned or group.capacity(need))
    return len(busy) - len(can_drain) + min(own, len(can_drain))


def _holding(workforce: Workforce, target: GroupOfWorkers) -> int:
    """Count the pods that have to stay for the results that there are: twice their size has to remain.
    That is what distributed itself demands when it chooses workers to close.
    """
    known = (workforce.workers.value if workforce.workers else None) or ()
    bound = sum(any(worker.bound for worker in workforce.attribution.of(pod)) for pod in target.active)
    if all(worker.keys == 0 and not worker.nbytes for worker in known):
        return bound
    size = sum(worker.nbytes or 0 for worker in known)
    room = workforce.room_beside(target.group.name)
    short = 2 * size - room
    if room and short <= 0:
        return bound
    own = [memory for pod in target.active if 0 < (memory := workforce.memory_of(pod)) < math.inf]
    pods = math.ceil(short * len(own) / sum(own)) if own else 1
    return max(bound, min(max(1, pods), len(target.active)))
