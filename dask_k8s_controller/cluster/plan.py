"""What to do next about a DaskCluster: a pure function of what was observed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta

from dask_k8s_controller.cache.objects import Pod, Service
from dask_k8s_controller.cluster import children
from dask_k8s_controller.cluster.budget import budget_of
from dask_k8s_controller.cluster.certificate import is_renewal, plan_certificate, plan_renewal
from dask_k8s_controller.cluster.network_policy import peers_of, policy_of
from dask_k8s_controller.cluster.observe import ObservedCluster, foreign_scheduler, run_by_another
from dask_k8s_controller.cluster.tls import TLS, is_refused, of_new_scheduler, of_pod, wanted
from dask_k8s_controller.plans.actions import (
    NAME_RETRY,
    Apply,
    AskIdle,
    Create,
    Draft,
    JsonPatch,
    Patch,
    Plan,
    is_past,
)
from dask_k8s_controller.plans.metadata import metadata_patch
from dask_k8s_controller.plans.notices import Notice
from dask_k8s_controller.plans.ownership import (
    adoption,
    delete,
    delete_leftovers,
    is_of_an_earlier_owner,
    owner_of,
)
from dask_k8s_controller.scheduler.answers import Answer, Problem
from dask_k8s_controller.settings import Policy
from dask_k8s_controller.worker_group.spec import WorkerGroup
from dask_k8s_models import labels, names
from dask_k8s_models.cluster import ClusterSpec
from dask_k8s_models.security import TLSSpec

LONGEST_IDLE_POLL = 60.0


@dataclass(frozen=True)
class ClusterPlan(Plan):
    """What to do next about a cluster.

    Parameters
    ----------
    tls : TLSSpec, optional
        The TLS that it is to have; None for plain TCP.
    """

    tls: TLSSpec | None = None


@dataclass
class _Draft(Draft):
    tls: TLSSpec | None = None

    def done(self) -> ClusterPlan:
        return ClusterPlan(**vars(super().done()), tls=self.tls)


def plan(observed: ObservedCluster, policy: Policy) -> ClusterPlan:
    """Decide what to do next about a cluster.

    Parameters
    ----------
    observed : ObservedCluster
        The cluster and what belongs to it.
    policy : Policy
        How long to wait for what.
    """
    draft = _Draft(observed.now, tls=wanted(observed.cluster, policy))
    cluster = observed.cluster
    if cluster.meta.is_deleting:
        return draft.done()
    if foreign := foreign_scheduler(observed.pods):
        draft.remark(*run_by_another(cluster, foreign), needs_a_person=True)
        return draft.done()
    service = (observed.service,) if observed.service else ()
    delete_leftovers(draft, cluster, (*observed.pods, *service, *observed.groups))
    if cluster.spec is None:
        draft.remark("InvalidSpec", cluster.problem, needs_a_person=True)
        return draft.done()
    if is_refused(cluster, policy):
        draft.remark(
            "TLSRequired",
            "The controller requires TLS and spec.tls.enabled is false: take spec.tls out. Until then "
            "nothing is made or replaced.",
            needs_a_person=True,
        )
        return draft.done()
    _shape_service(draft, observed)
    _shape_default_group(draft, observed, cluster.spec)
    _adopt_groups(draft, observed)
    unread = policy_of(cluster, peers_of(observed, policy)), budget_of(cluster)
    for child, applied in zip(unread, (observed.applied_policy, observed.applied_budget), strict=True):
        child.plan(draft, cluster.status, applied, observed.monotonic)
    if cluster.is_suspended:
        _suspend(draft, observed)
    else:
        plan_certificate(draft, observed, draft.tls, policy)
        _run_scheduler(draft, observed, policy)
        _watch_idleness(draft, observed, cluster.spec, policy)
    return draft.done()


def _shape_service(draft: Draft, observed: ObservedCluster) -> None:
    desired = children.scheduler_service(observed.cluster)
    live = observed.service
    if live is None:
        draft.actions.append(Create(desired))
    elif live.meta.is_deleting or is_of_an_earlier_owner(live, observed.cluster):
        return  # Its name is free soon.
    elif not live.meta.belongs_to(observed.cluster.meta.uid):
        _name_is_taken(draft, live)
    elif not children.is_applied(desired, live):
        draft.actions.append(Apply(desired, live.meta.uid))


def _name_is_taken(draft: Draft, live: Service | WorkerGroup) -> None:
    name, owner = live.meta.name, owner_of(live.meta)
    draft.remark(
        f"{live.kind.removeprefix('Dask')}NameTaken",
        f"The {live.kind} {name} isn't the cluster's, it belongs to {owner}: rename one of them.",
        needs_a_person=True,
    )
    draft.requeue_after(NAME_RETRY)


def _shape_default_group(draft: Draft, observed: ObservedCluster, spec: ClusterSpec) -> None:
    live = observed.default_group
    if live is None:
        draft.actions.append(Create(children.default_group(observed.cluster)))
        return
    if live.meta.is_deleting or is_of_an_earlier_owner(live, observed.cluster):
        return
    if live.meta.owner is not None and not live.meta.belongs_to(observed.cluster.meta.uid):
        _name_is_taken(draft, live)
        return
    # One after the other, and the template first: no worker shall be added as it was before.
    if operations := _template_operations(observed, live):
        draft.actions.append(JsonPatch("DaskWorkerGroup", live.name, live.meta.uid, tuple(operations)))
    elif patch := _replicas_patch(observed, live, spec.worker.replicas):
        draft.actions.append(patch)
    elif metadata := metadata_patch(live.meta, children.default_group_metadata(observed.cluster)):
        draft.actions.append(Patch("DaskWorkerGroup", live.name, live.meta.uid, metadata))


def _replicas_patch(observed: ObservedCluster, live: WorkerGroup, replicas: int) -> Patch | None:
    """Hand the cluster's replicas on when *they* changed: else somebody has set the group's on purpose."""
    handed_on = live.meta.annotations.get(labels.CLUSTER_REPLICAS)
    if handed_on == str(replicas):
        return None
    patch: dict[str, object] = {"metadata": {"annotations": {labels.CLUSTER_REPLICAS: str(replicas)}}}
    # A group without the annotation was made by hand, with replicas of its own.
    if handed_on is not None and live.name not in observed.autoscaled:
        patch["spec"] = {"worker": {"replicas": replicas}}
    return Patch("DaskWorkerGroup", live.name, live.meta.uid, patch, live.meta.version)


def _template_operations(observed: ObservedCluster, live: WorkerGroup) -> list[dict[str, object]]:
    """Find how the group's workers differ from the cluster's, in all but their number."""
    desired = observed.cluster.raw_spec["worker"]
    present = live.raw_spec.get("worker") or {}
    operations: list[dict[str, object]] = []
    for key in sorted((desired.keys() | present.keys()) - {"replicas"}):
        path = f"/spec/worker/{key}"
        if key not in desired:
            operations.append({"op": "remove", "path": path})
        elif desired[key] != present.get(key):
            operations.append({"op": "add", "path": path, "value": desired[key]})
    return operations


def _adopt_groups(draft: Draft, observed: ObservedCluster) -> None:
    """Make groups that were made by hand go with their cluster."""
    for group in observed.groups:
        if group.meta.is_deleting or is_of_an_earlier_owner(group, observed.cluster):
            continue
        if patch := adoption(group, observed.cluster):
            draft.actions.append(patch)


def _suspend(draft: Draft, observed: ObservedCluster) -> None:
    for pod in observed.own_pods:
        if not pod.meta.is_deleting:
            draft.actions.append(delete(pod, "the cluster is suspended"))
    draft.remark("Suspended", "spec.suspend is true: there are no pods until it becomes false.")


def _run_scheduler(draft: _Draft, observed: ObservedCluster, policy: Policy) -> None:
    staying = [pod for pod in observed.own_pods if not pod.meta.is_deleting]
    scheduler = observed.scheduler
    for pod in staying:
        if pod.has_ended:
            _replace_ended(draft, pod, policy)
        elif pod is not scheduler:
            draft.actions.append(delete(pod, "there is another scheduler"))
    # Never two that run: clients choke on them. An old one has to be on its way out first.
    desired = of_new_scheduler(draft.tls, observed.certificate) if draft.tls else None
    if draft.tls and desired is None:
        return  # Its certificate is being made.
    if not staying:
        body = children.scheduler_pod(observed.cluster, _suffix(observed), desired)
        draft.actions.append(Create(body, may_be_renamed=True))
    elif scheduler is not None:
        _replace_outdated(draft, observed, scheduler, desired, policy)
        metadata = children.scheduler_pod_metadata(observed.cluster)
        if patch := metadata_patch(scheduler.meta, metadata):
            draft.actions.append(Patch("Pod", scheduler.name, scheduler.meta.uid, patch))


def _replace_ended(draft: Draft, pod: Pod, policy: Policy) -> None:
    if not pod.reason and pod.ended and pod.meta.created:
        lived = (pod.ended - pod.meta.created).total_seconds()
        due = pod.ended + timedelta(seconds=policy.failure_delay)
        if lived < policy.short_life and due > draft.now:
            draft.requeue_no_later_than(due)
            return
    draft.actions.append(delete(pod, "it has ended"))


def _suffix(observed: ObservedCluster) -> str:
    """Return what tells the pod's name from that of a dying one; nothing if the plain name is free."""
    plain = names.scheduler(observed.cluster.name)
    if observed.name_is_taken or any(pod.name == plain for pod in observed.pods):
        return hashlib.sha256(observed.entropy.encode()).hexdigest()[:5]
    return ""


def _replace_outdated(
    draft: Draft, observed: ObservedCluster, scheduler: Pod, tls: TLS | None, policy: Policy
) -> None:
    cluster, present = observed.cluster, of_pod(scheduler)
    is_of_this_spec = scheduler.template_hash == cluster.scheduler_hash
    if is_of_this_spec and present == tls:
        return
    restart = cluster.meta.annotations.get(labels.RESTART)
    is_asked_for = restart is not None and restart != scheduler.meta.annotations.get(labels.RESTART)
    if not is_asked_for and is_of_this_spec and is_renewal(observed, present, tls):
        plan_renewal(draft, observed, scheduler, policy)
        return
    # One that was ready may hold results; whether it is idle is asked.
    if is_asked_for or not (scheduler.is_ready or scheduler.was_ready):
        draft.actions.append(delete(scheduler, "its spec has changed"))
        return
    answer = _fresh_idleness(draft, observed, policy)
    if answer is not None and answer.value is not None:
        draft.actions.append(delete(scheduler, "its spec has changed and the cluster is idle"))
        return
    draft.remark(
        "SchedulerChangePending",
        "The changed scheduler replaces the present one when the cluster is idle, or at once if the "
        f"annotation {labels.RESTART} gets another value: the results in memory are lost then.",
    )


def _fresh_idleness(draft: Draft, observed: ObservedCluster, policy: Policy) -> Answer[float] | None:
    answer = observed.idle
    if answer is None:
        draft.ask(AskIdle())
        return None
    age = answer.age(observed.monotonic)
    if age <= policy.answer_age and answer.problem is Problem.NONE:
        if answer.value is None:
            draft.requeue_after(policy.scheduler_retry - age)
        return answer
    draft.ask_after(policy.scheduler_retry - age, AskIdle())
    return None


def _watch_idleness(draft: Draft, observed: ObservedCluster, spec: ClusterSpec, policy: Policy) -> None:
    """Delete the cluster when its scheduler has been idle for long; look only when that could be so."""
    timeout = spec.idle_timeout()
    scheduler, answer = observed.scheduler, observed.idle
    if not timeout or scheduler is None or not scheduler.is_ready:
        return
    if answer is None:
        draft.ask(AskIdle())
        return
    age = answer.age(observed.monotonic)
    if answer.problem is not Problem.NONE:
        draft.remark(
            answer.problem.value,
            f"Can't tell whether the scheduler has been idle for {timeout} s: {answer.message}",
            needs_a_person=answer.problem is Problem.NO_ROUTE,
        )
        draft.ask_after(policy.scheduler_retry - age, AskIdle())
    elif answer.value is None:  # Busy, or it was when it was asked last.
        wait = min(max(policy.idle_poll, timeout / 10), LONGEST_IDLE_POLL)
        draft.ask_after(wait - age, AskIdle())
    elif not is_past(timeout - answer.value - age):
        draft.requeue_after(timeout - answer.value - age)
    elif age > policy.answer_age:
        draft.ask(AskIdle())
    else:
        why = f"its scheduler has been idle for {timeout} s"
        draft.actions.append(delete(observed.cluster, why))
        draft.notices.append(Notice("IdleTimeout", f"Deleting the cluster: {why}."))
