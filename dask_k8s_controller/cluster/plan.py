"""What to do next about a DaskCluster: a pure function of what was observed."""

from __future__ import annotations

import hashlib
from typing import Any

from dask_k8s_controller.cache.objects import Pod, Service
from dask_k8s_controller.cluster import children
from dask_k8s_controller.cluster.certificate import is_renewal, plan_certificate, plan_renewal
from dask_k8s_controller.cluster.network_policy import peers_of, policy_of
from dask_k8s_controller.cluster.observe import (
    ClusterPlan,
    ObservedCluster,
    foreign_scheduler,
    run_by_another,
)
from dask_k8s_controller.cluster.tls import TLS, is_refused, of_new_scheduler, of_pod, wanted
from dask_k8s_controller.plans.actions import NAME_RETRY, Apply, Ask, Create, JsonPatch
from dask_k8s_controller.plans.metadata import follow
from dask_k8s_controller.plans.notices import Notice
from dask_k8s_controller.plans.ownership import adopt, delete_leftovers, is_of_an_earlier_owner, owner_of
from dask_k8s_controller.plans.plan import Plan, is_past
from dask_k8s_controller.plans.pod_problems import replaced_at
from dask_k8s_controller.scheduler.answers import Problem
from dask_k8s_controller.settings import Policy
from dask_k8s_controller.worker_group.spec import WorkerGroup
from dask_k8s_models import labels, names
from dask_k8s_models.cluster import ClusterSpec

LONGEST_IDLE_POLL = 60.0


def plan(observed: ObservedCluster, policy: Policy) -> ClusterPlan:
    """Decide what to do next about a cluster."""
    draft = Plan(observed, policy)
    cluster = observed.subject
    if foreign := foreign_scheduler(cluster, observed.pods):
        draft.remark(*run_by_another(cluster, foreign), needs_a_person=True)
        return draft
    service = (observed.service,) if observed.service else ()
    delete_leftovers(draft, (*observed.pods, *service, *observed.groups))
    if cluster.spec is None:
        draft.remark("InvalidSpec", cluster.problem, needs_a_person=True)
        return draft
    if is_refused(cluster, policy):
        draft.remark(
            "TLSRequired",
            "The controller requires TLS and spec.tls.enabled is false: take spec.tls out. Until then "
            "nothing is made or replaced.",
            needs_a_person=True,
        )
        return draft
    _shape_service(draft)
    _shape_default_group(draft, cluster.spec)
    for group in observed.groups:
        if not group.meta.is_deleting and not is_of_an_earlier_owner(group, cluster):
            adopt(draft, group, cluster)
    policy_of(cluster, peers_of(observed, policy)).plan(draft)
    cluster.once(children.budget_of).plan(draft)
    if cluster.is_suspended:
        draft.delete_all(observed.own_pods, "the cluster is suspended")
        draft.remark("Suspended", "spec.suspend is true: there are no pods until it becomes false.")
    else:
        plan_certificate(draft)
        _run_scheduler(draft)
        _watch_idleness(draft, cluster.spec)
    return draft


def _shape_service(draft: ClusterPlan) -> None:
    cluster, live = draft.observed.subject, draft.observed.service
    desired = cluster.once(children.scheduler_service)
    if live is None:
        draft.actions.append(Create(desired))
    elif live.meta.is_deleting or is_of_an_earlier_owner(live, cluster):
        return  # Its name is free soon.
    elif not live.meta.belongs_to(cluster.meta.uid):
        _name_is_taken(draft, live)
    elif not children.is_applied(desired, live):
        draft.actions.append(Apply(desired, live.meta.uid))


def _name_is_taken(draft: ClusterPlan, live: Service | WorkerGroup) -> None:
    name, owner = live.meta.name, owner_of(live.meta)
    draft.remark(
        f"{live.kind.removeprefix('Dask')}NameTaken",
        f"The {live.kind} {name} isn't the cluster's, it belongs to {owner}: rename one of them.",
        needs_a_person=True,
    )
    draft.requeue_after(NAME_RETRY)


def _shape_default_group(draft: ClusterPlan, spec: ClusterSpec) -> None:
    cluster, live = draft.observed.subject, draft.observed.default_group
    if live is None:
        draft.actions.append(Create(children.default_group(cluster)))
        return
    if live.meta.is_deleting or is_of_an_earlier_owner(live, cluster):
        return
    if live.meta.owner is not None and not live.meta.belongs_to(cluster.meta.uid):
        _name_is_taken(draft, live)
        return
    # One after the other, and the template first: no worker shall be added as it was before.
    if operations := _template_operations(cluster.raw_spec["worker"], live.raw_spec.get("worker") or {}):
        draft.actions.append(JsonPatch(live.kind, live.name, live.meta.uid, tuple(operations)))
    elif live.meta.annotations.get(labels.CLUSTER_REPLICAS) != str(spec.worker.replicas):
        _hand_replicas_on(draft, live, spec.worker.replicas)
    else:
        follow(draft, live, cluster.once(children.default_group_metadata))


def _hand_replicas_on(draft: ClusterPlan, live: WorkerGroup, replicas: int) -> None:
    """Hand the cluster's replicas on when *they* changed: else somebody has set the group's on purpose."""
    patch: dict[str, Any] = {"metadata": {"annotations": {labels.CLUSTER_REPLICAS: str(replicas)}}}
    # A group without the annotation was made by hand, with replicas of its own.
    if labels.CLUSTER_REPLICAS in live.meta.annotations and live.name not in draft.observed.autoscaled:
        patch["spec"] = {"worker": {"replicas": replicas}}
    draft.patch(live, patch, live.meta.version)


def _template_operations(desired: dict[str, Any], present: dict[str, Any]) -> list[dict[str, object]]:
    """Find how the group's workers differ from the cluster's, in all but their number."""
    operations: list[dict[str, object]] = []
    for key in sorted((desired.keys() | present.keys()) - {"replicas"}):
        path = f"/spec/worker/{key}"
        if key not in desired:
            operations.append({"op": "remove", "path": path})
        elif desired[key] != present.get(key):
            operations.append({"op": "add", "path": path, "value": desired[key]})
    return operations


def _run_scheduler(draft: ClusterPlan) -> None:
    observed, policy = draft.observed, draft.policy
    cluster, scheduler = observed.subject, observed.scheduler
    staying = [pod for pod in observed.own_pods if not pod.meta.is_deleting]
    for pod in staying:
        if pod.has_ended:
            due = replaced_at(pod, policy)
            if due is None or not draft.waits_until(due):
                draft.delete(pod, "it has ended")
        elif pod is not scheduler:
            draft.delete(pod, "there is another scheduler")
    # Never two that run: clients choke on them. An old one has to be on its way out first.
    tls = wanted(cluster, policy)
    desired = of_new_scheduler(tls, observed.certificate)
    if tls and desired is None:
        return  # Its certificate is being made.
    if not staying:
        body = children.scheduler_pod(cluster, _suffix(observed), desired)
        draft.actions.append(Create(body, may_be_renamed=True))
    elif scheduler is not None:
        _replace_outdated(draft, scheduler, desired)
        follow(draft, scheduler, cluster.once(children.scheduler_pod_metadata))


def _suffix(observed: ObservedCluster) -> str:
    """Return what tells the pod's name from that of a dying one; nothing if the plain name is free."""
    plain = names.scheduler(observed.subject.name)
    if observed.name_is_taken or any(pod.name == plain for pod in observed.pods):
        return hashlib.sha256(observed.entropy.encode()).hexdigest()[:5]
    return ""


def _replace_outdated(draft: ClusterPlan, scheduler: Pod, tls: TLS | None) -> None:
    observed = draft.observed
    cluster, present = observed.subject, of_pod(scheduler)
    is_of_this_spec = scheduler.template_hash == cluster.scheduler_hash
    if is_of_this_spec and present == tls:
        return
    restart = cluster.meta.annotations.get(labels.RESTART)
    is_asked_for = restart is not None and restart != scheduler.meta.annotations.get(labels.RESTART)
    # One that was ready may hold results; whether it is idle is asked.
    may_hold_results = scheduler.is_ready or scheduler.was_ready
    if not is_asked_for and is_of_this_spec and is_renewal(observed, present, tls):
        plan_renewal(draft, scheduler)
    elif is_asked_for or not may_hold_results:
        draft.delete(scheduler, "its spec has changed")
    elif _is_idle(draft):
        draft.delete(scheduler, "its spec has changed and the cluster is idle")
    else:
        draft.remark(
            "SchedulerChangePending",
            "The changed scheduler replaces the present one when the cluster is idle, or at once if the "
            f"annotation {labels.RESTART} gets another value: the results in memory are lost then.",
        )


def _is_idle(draft: ClusterPlan) -> bool:
    """Return whether the scheduler has just said that it is idle; else see to it that it is asked."""
    answer, policy = draft.observed.idle, draft.policy
    age = answer.age(draft.observed.monotonic) if answer else 0.0
    if answer is None or age > policy.answer_age or answer.problem is not Problem.NONE:
        draft.ask_again(policy.scheduler_retry, Ask.IDLE, answer)
        return False
    if answer.value is None:
        draft.requeue_after(policy.scheduler_retry - age)
    return answer.value is not None


def _watch_idleness(draft: ClusterPlan, spec: ClusterSpec) -> None:
    """Delete the cluster when its scheduler has been idle for long; look only when that could be so."""
    observed, policy, timeout = draft.observed, draft.policy, spec.idle_timeout()
    scheduler, answer = observed.scheduler, observed.idle
    if not timeout or scheduler is None or not scheduler.is_ready:
        return
    if answer is None:
        draft.ask(Ask.IDLE)
        return
    age = answer.age(observed.monotonic)
    if answer.problem is not Problem.NONE:
        draft.remark(
            answer.problem.value,
            f"Can't tell whether the scheduler has been idle for {timeout} s: {answer.message}",
            needs_a_person=answer.problem is Problem.NO_ROUTE,
        )
        draft.ask_again(policy.scheduler_retry, Ask.IDLE, answer)
    elif answer.value is None:  # Busy, or it was when it was asked last.
        wait = min(max(policy.idle_poll, timeout / 10), LONGEST_IDLE_POLL)
        draft.ask_again(wait, Ask.IDLE, answer)
    elif not is_past(timeout - answer.value - age):
        draft.requeue_after(timeout - answer.value - age)
    elif age > policy.answer_age:
        draft.ask(Ask.IDLE)
    else:
        why = f"its scheduler has been idle for {timeout} s"
        draft.delete(observed.subject, why)
        draft.notices.append(Notice("IdleTimeout", f"Deleting the cluster: {why}."))
