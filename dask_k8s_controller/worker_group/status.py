"""The status of a worker group: a pure function of what was observed, planned, and became of the plan."""

from __future__ import annotations

from collections.abc import Iterable

from dask_k8s_controller.cache.objects import Pod
from dask_k8s_controller.plans.actions import Outcome, Remark
from dask_k8s_controller.plans.conditions import WAITING, Status, stated, summary
from dask_k8s_controller.plans.notices import Notice, changes
from dask_k8s_controller.plans.pod_problems import command_of, problems_of
from dask_k8s_controller.scheduler.answers import Problem
from dask_k8s_controller.worker_group.children import budget_of
from dask_k8s_controller.worker_group.observe import GroupPlan, ObservedGroup
from dask_k8s_models import labels


def status(observed: ObservedGroup, plan: GroupPlan, outcome: Outcome) -> Status:
    """The status of a group of workers."""
    group = observed.subject
    live = [pod for pod in observed.own_pods if pod.is_live]
    ready = _ready(observed, live)
    active_ready = _ready(observed, [pod for pod in live if not pod.is_retiring])
    updated = [pod for pod in live if pod.template_hash == group.worker_hash]
    # While workers move to other nodes there are some more, and never fewer at work.
    moves = any(pod.meta.uid in observed.leaving for pod in live)
    is_complete = active_ready >= group.replicas and (moves or len(live) == group.replicas)
    is_up_to_date = len(updated) == len(live) or not group.rolls
    command = command_of(group.raw_spec.get("worker"), labels.Component.WORKER)
    remarks = [*plan.remarks, *outcome.remarks, *problems_of(observed.own_pods, command)]
    waiting = Remark(WAITING, f"{active_ready} of {group.replicas} workers are ready.")
    is_ready = is_complete and is_up_to_date and not any(remark.reason == "Suspended" for remark in remarks)
    return {
        **stated(observed, summary(is_ready, remarks, waiting)),
        "replicas": len(live),
        "readyReplicas": ready,
        "updatedReplicas": len(updated),
        "selector": labels.selector(labels.worker(group.cluster, group.name)),
        **group.once(budget_of).as_status(observed),
    }


def _ready(observed: ObservedGroup, pods: Iterable[Pod]) -> int:
    """Count the workers that are ready: those that the scheduler knows.

    Where it can't be asked, its pods' readiness has to do; until it has answered, the number doesn't grow.
    """
    ready = [pod for pod in pods if pod.is_ready]
    answer = observed.workers
    if answer is None:
        return min(len(ready), int(observed.subject.status.get("readyReplicas") or 0))
    if answer.problem is not Problem.NONE:
        return len(ready)
    return sum(observed.attribution.may_have_workers(pod) for pod in ready)


def notices(observed: ObservedGroup, plan: GroupPlan, outcome: Outcome, status: Status) -> list[Notice]:
    """Find what is worth an Event: only what goes wrong, as a group that grows is not ready for a while."""
    news = changes(observed.subject.status, status)
    return [notice for notice in news if notice.is_warning and notice.reason != WAITING]
