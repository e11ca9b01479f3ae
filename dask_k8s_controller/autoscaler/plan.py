"""What to do next about a DaskAutoscaler: a pure function of what was observed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from dask_k8s_controller.autoscaler.needs import Assignment, Offer, assignment, unsatisfiable
from dask_k8s_controller.autoscaler.observe import GroupOfWorkers, ObservedAutoscaler
from dask_k8s_controller.autoscaler.policy import (
    Limit,
    Load,
    Loss,
    Step,
    grow,
    shrink,
    wanted,
)
from dask_k8s_controller.cache.objects import Pod
from dask_k8s_controller.plans.actions import Ask, SetScale
from dask_k8s_controller.plans.ownership import adopt, is_of_an_earlier_owner
from dask_k8s_controller.plans.plan import Plan
from dask_k8s_controller.plans.pod_problems import problem_of
from dask_k8s_controller.scheduler.answers import Attribution, Demand, Need, Problem, attribute
from dask_k8s_controller.settings import Policy
from dask_k8s_models.autoscaler import AutoscalerSpec


@dataclass(frozen=True)
class Decision:
    """What an autoscaler wants, and what it waits for.

    Parameters
    ----------
    want : Step
        The replicas that the demand asks for, within the bounds.
    step : Step
        The replicas that come next.
    demand : int
        Workers that the scheduler could use.
    others : int
        Workers that others than this group's lasting ones offer.
    waits_until : datetime, optional
        When the number may change again.
    replicas : int
        What the group has before the step.
    needs : tuple of Need
        The tasks that need what this group offers.
    unsatisfiable : tuple of Need
        The tasks that no group of the cluster can ever run.
    """

    want: Step
    step: Step
    demand: int
    others: int
    waits_until: datetime | None = None
    replicas: int = 0
    needs: tuple[Need, ...] = ()
    unsatisfiable: tuple[Need, ...] = ()

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
    autoscaler, cluster, target = observed.autoscaler, observed.cluster, observed.target
    if autoscaler.meta.is_deleting:
        return draft
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


def _follow_demand(draft: AutoscalerPlan, spec: AutoscalerSpec, target: GroupOfWorkers) -> None:
    observed, policy, answer = draft.observed, draft.policy, draft.observed.demand
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
        draft.ask_after(policy.scheduler_retry - age, Ask.DEMAND)
        return
    offers = _offers(observed, target)
    mine = assignment(answer.value, target.group.name, offers)
    load = _load(draft, target, answer.value, mine, offers)
    load = replace(load, demand=min(load.demand, policy.largest_demand))
    want = wanted(spec, load)
    may_change_at = _may_change_at(observed, spec, want.replicas, target.group.replicas)
    draft.decision = Decision(
        want,
        Step(observed.replicas),
        load.demand,
        load.others_there,
        may_change_at,
        observed.replicas,
        mine.needs,
        tuple(unsatisfiable(answer.value, offers)),
    )
    if want.replicas == observed.replicas:
        draft.ask_after(policy.demand_poll - age, Ask.DEMAND)
        return
    if may_change_at is not None:
        draft.requeue_no_later_than(may_change_at)
        draft.ask_after(policy.demand_poll - age, Ask.DEMAND)
        return
    changed_at = observed.changed_at
    if changed_at is not None and age >= (observed.now - changed_at).total_seconds():
        # It was said before the last change: nothing is decided on it twice.
        draft.ask_after(policy.demand_poll - age, Ask.DEMAND)
        return
    if age > policy.answer_age:
        draft.ask(Ask.DEMAND)
        return
    step = _next_step(draft, spec, target, want.replicas)
    if step is not None:
        draft.decision = replace(draft.decision, step=step, waits_until=None)
        if step.replicas != observed.replicas:
            group = target.group
            draft.actions.append(SetScale(group.kind, group.name, step.replicas, group.meta.version))
    draft.ask_after(policy.demand_poll - age, Ask.DEMAND)


def _offers(observed: ObservedAutoscaler, target: GroupOfWorkers) -> list[Offer]:
    """Say what the workers of all groups offer: those that there are, else the group's spec."""
    workers = _attributed(observed)
    autoscalers = {one.worker_group: one for one in (*observed.siblings, observed.autoscaler)}
    offers = []
    for members in (target, *observed.others):
        group, autoscaler = members.group, autoscalers.get(members.group.name)
        there = next((worker.resources for pod in members.ready for worker in workers.of(pod)), None)
        offers.append(
            Offer(
                group.name,
                group.resources if there is None else there,
                autoscaler.spec.priority if autoscaler and autoscaler.spec else 0,
                autoscaler is not None or group.replicas > 0,
            )
        )
    return offers


def _load(
    draft: AutoscalerPlan,
    target: GroupOfWorkers,
    demand: Demand,
    mine: Assignment,
    offers: Sequence[Offer],
) -> Load:
    """Say what there is to do for this group, and what the others do of it."""
    observed, knows_needs = draft.observed, demand.needs is not None
    takes_the_rest = mine.takes_the_rest or not knows_needs
    workers = mine.workers + (demand.workers if takes_the_rest else 0)
    own = offers[0]
    sharing = (
        {offer.group for offer in offers if not demand.needs or offer.cost[:2] == own.cost[:2]}
        if takes_the_rest
        else set()
    )
    per_pod = _workers_per_pod(observed, target)
    # What is on its way out does its part of the demand until it goes, and needs no successor.
    leaving = max(0, target.lasting - observed.replicas) * per_pod
    there = coming = leaving
    for other in (other for other in observed.others if other.group.name in sharing):
        ratio = _workers_per_pod(observed, other)
        ready = other.lasting
        stuck = sum(problem_of(pod) is not None for pod in other.live if not pod.is_ready)
        there += ready * ratio
        coming += max(ready, other.group.replicas - stuck) * ratio
    if observed.workers is None and target.ready:
        draft.ask(Ask.WORKERS)  # Several workers may run in a pod.
    return Load(workers, observed.replicas, coming, there, per_pod)


def _workers_per_pod(observed: ObservedAutoscaler, members: GroupOfWorkers) -> int:
    workers = _attributed(observed)
    return max((len(workers.of(pod)) for pod in members.live), default=1) or 1


def _attributed(observed: ObservedAutoscaler) -> Attribution:
    groups = (*observed.others, *([observed.target] if observed.target else ()))
    known = observed.workers.value if observed.workers else None
    return attribute((pod for group in groups for pod in group.live), known or ())


def _may_change_at(
    observed: ObservedAutoscaler, spec: AutoscalerSpec, want: int, replicas: int
) -> datetime | None:
    """When the stabilization window ends; None if it has, or doesn't matter."""
    is_out_of_bounds = replicas < spec.minimum or (spec.maximum is not None and replicas > spec.maximum)
    if observed.changed_at is None or want == replicas or is_out_of_bounds:
        return None
    behavior = spec.scale_up() if want > replicas else spec.scale_down()
    due = observed.changed_at + timedelta(seconds=behavior.stabilizationWindowSeconds)
    return due if due > observed.now else None


def _next_step(draft: AutoscalerPlan, spec: AutoscalerSpec, target: GroupOfWorkers, want: int) -> Step | None:
    """Return the next step; None while it isn't known what it would cost."""
    observed = draft.observed
    if want > observed.replicas:
        return grow(spec, observed.replicas, want)
    loss = _loss(draft, target)
    if loss is None or observed.demand is None or observed.workers is None:
        return None
    if observed.demand.at < observed.workers.at:
        # Workers say what they do by heartbeats, the demand knows it all: the last word is the demand's.
        draft.ask(Ask.DEMAND)
        return None
    return shrink(spec, observed.replicas, want, loss)


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
    workers = _attributed(observed)
    not_made_yet = max(0, observed.replicas - len(target.active))
    return Loss(
        unused=not_made_yet + sum(not workers.may_have_workers(pod) for pod in target.active),
        busy=sum(any(worker.is_busy for worker in workers.of(pod)) for pod in target.active),
        holds_all_results=not all(worker.keys == 0 and not worker.nbytes for worker in answer.value)
        and not _others_remain(observed.others),
    )


def _others_remain(others: tuple[GroupOfWorkers, ...]) -> bool:
    remaining: list[Pod] = [pod for other in others for pod in other.ready if not pod.is_retiring]
    return bool(remaining)
