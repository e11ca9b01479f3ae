"""What to do next about a DaskWorkerGroup: a pure function of what was observed.

The pods of a group are *live* (they run or will run), *ended* (they failed or succeeded, and are replaced) or
being deleted. A live pod is *active* until it is chosen to go; then it is *marked*, its workers are retired,
and it is deleted. Only active pods count against the replicas.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta

from dask_k8s_controller.cache.objects import Pod
from dask_k8s_controller.cluster.children import scheduler_address
from dask_k8s_controller.cluster.observe import run_by_another
from dask_k8s_controller.cluster.spec import Cluster
from dask_k8s_controller.cluster.tls import are_settled, is_refused, is_stranded, of_joining
from dask_k8s_controller.plans.actions import (
    AskWorkers,
    Create,
    Draft,
    Patch,
    Plan,
)
from dask_k8s_controller.plans.metadata import metadata_patch
from dask_k8s_controller.plans.ownership import delete, delete_leftovers, is_of_an_earlier_owner
from dask_k8s_controller.settings import Policy
from dask_k8s_controller.worker_group import children
from dask_k8s_controller.worker_group.budget import budget_of
from dask_k8s_controller.worker_group.observe import ObservedGroup
from dask_k8s_controller.worker_group.retirement import plan_retirement, plan_rollout, plan_shrinking
from dask_k8s_models import names, service

LONGEST_WORKER_POLL = 30.0
"""Seconds between looks whether the scheduler knows the worker of a pod that has been ready for long."""


def plan(observed: ObservedGroup, policy: Policy) -> Plan:
    """Decide what to do next about a group of workers.

    Parameters
    ----------
    observed : ObservedGroup
        The group, its pods and its cluster.
    policy : Policy
        How long to wait for what.
    """
    draft = Draft(observed.now)
    group, cluster = observed.group, observed.cluster
    if group.meta.is_deleting:
        return draft.done()
    delete_leftovers(draft, group, observed.pods)
    if group.spec is None:
        draft.remark("InvalidSpec", group.problem, needs_a_person=True)
    elif cluster is None:
        draft.remark("ClusterNotFound", f"Waiting for the DaskCluster {group.cluster}.")
    elif cluster.meta.is_deleting or is_of_an_earlier_owner(group, cluster):
        draft.remark("ClusterTerminating", f"The DaskCluster {group.cluster} is being deleted.")
    elif cluster.spec is None:
        draft.remark("ClusterInvalid", f"The spec of the DaskCluster {group.cluster} is invalid.")
    elif observed.foreign_scheduler is not None:
        draft.remark(*run_by_another(cluster, observed.foreign_scheduler), needs_a_person=True)
    elif cluster.is_suspended:
        _suspend(draft, observed)
    elif is_refused(cluster, policy):
        draft.remark("ClusterRefused", f"The DaskCluster {group.cluster} has no TLS, which is required.")
    else:
        _converge(draft, observed, cluster, policy)
    return draft.done()


def _suspend(draft: Draft, observed: ObservedGroup) -> None:
    # At once and without retiring: the scheduler and all its workers go together.
    for pod in observed.own_pods:
        if not pod.meta.is_deleting:
            draft.actions.append(delete(pod, "the cluster is suspended"))
    draft.remark("Suspended", f"The DaskCluster {observed.group.cluster} is suspended.")


def _converge(draft: Draft, observed: ObservedGroup, cluster: Cluster, policy: Policy) -> None:
    group = observed.group
    budget_of(group).plan(draft, group.status, observed.applied_budget, observed.monotonic)
    stranded = [pod for pod in observed.own_pods if pod.is_live and is_stranded(pod, observed.scheduler)]
    for pod in stranded:
        draft.actions.append(delete(pod, "its certificate isn't that of the present scheduler"))
    active = [pod for pod in observed.own_pods if pod.is_live and not pod.is_retiring and pod not in stranded]
    marked = [pod for pod in observed.own_pods if pod.is_live and pod.is_retiring and pod not in stranded]
    outdated = _outdated(observed, active)
    # One worker alone is replaced by another before it goes, so that someone can take its results over.
    surge = 1 if outdated and group.replicas == 1 else 0
    target = group.replicas + surge
    kept_slots = _replace_ended(draft, observed, policy)
    surplus = len(active) - target
    if surplus < 0:
        _grow(draft, observed, cluster, -surplus - kept_slots, policy)
    if surplus > 0:
        staying = plan_shrinking(draft, observed, policy, active, surplus, outdated)
    else:
        staying = plan_rollout(draft, observed, policy, active, outdated)
    plan_retirement(draft, observed, policy, marked, nobody_stays=not staying and group.replicas == 0)
    if surplus <= 0 and not marked:
        _await_workers(draft, observed, policy)
    _update_metadata(draft, observed)


def _await_workers(draft: Draft, observed: ObservedGroup, policy: Policy) -> None:
    """Ask the scheduler until it knows the workers of all ready pods: then the status counts them."""
    if observed.scheduler is None or not observed.scheduler.is_ready:
        return
    ready = [pod for pod in observed.own_pods if pod.is_live and pod.is_ready and not pod.is_retiring]
    answer = observed.workers
    if answer is None:
        if ready:
            draft.ask(AskWorkers())
        return
    unknown = [pod for pod in ready if not observed.attribution.may_have_workers(pod)]
    if unknown:
        # Most register within seconds; some never do.
        youngest = min((_age(pod, observed.now) for pod in unknown), default=0.0)
        poll = min(max(policy.worker_poll, youngest / 10), LONGEST_WORKER_POLL)
        draft.ask_after(poll - answer.age(observed.monotonic), AskWorkers())


def _age(pod: Pod, now: datetime) -> float:
    return max(0.0, (now - pod.meta.created).total_seconds()) if pod.meta.created else 0.0


def _outdated(observed: ObservedGroup, active: list[Pod]) -> frozenset[str]:
    spec = observed.group.spec
    if spec is None or spec.worker.update_strategy().type != "RollingUpdate":
        return frozenset()
    return frozenset(pod.meta.uid for pod in active if pod.template_hash != observed.group.worker_hash)


def _replace_ended(draft: Draft, observed: ObservedGroup, policy: Policy) -> int:
    """Delete pods that ended, so that others take their place; count those that are left for a while."""
    kept = 0
    for pod in observed.own_pods:
        if pod.has_ended and not pod.meta.is_deleting:
            due = _replaced_at(pod, observed.scheduler, policy)
            if pod.is_retiring or due is None or due <= observed.now:
                draft.actions.append(delete(pod, "it has ended"))
            else:
                draft.requeue_no_later_than(due)
                kept += 1
    return kept


def _replaced_at(pod: Pod, scheduler: Pod | None, policy: Policy) -> datetime | None:
    """When to replace a pod that ended: not at once if it ended soon after its start, as the next may too."""
    if pod.ended is None or pod.meta.created is None:
        return None
    was_taken_away = bool(pod.reason)
    started = scheduler.meta.created if scheduler else None
    lost_its_scheduler = started is not None and started > pod.meta.created
    if was_taken_away or lost_its_scheduler:
        return None
    lived = (pod.ended - pod.meta.created).total_seconds()
    return pod.ended + timedelta(seconds=policy.failure_delay) if lived < policy.short_life else None


def _grow(draft: Draft, observed: ObservedGroup, cluster: Cluster, count: int, policy: Policy) -> None:
    if policy.batch_size is not None:
        count = min(count, policy.batch_size)
        newest = max((pod.meta.created for pod in observed.own_pods if pod.meta.created), default=None)
        if newest is not None and policy.batch_delay:
            due = newest + timedelta(seconds=policy.batch_delay)
            if due > observed.now:
                draft.requeue_no_later_than(due)
                return
    if not are_settled(observed.scheduler, cluster, policy):
        draft.remark("CertificateMissing", f"Waiting for the certificate of the DaskCluster {cluster.name}.")
        return
    # The events of these give the group its next reconcile.
    count = min(count, policy.burst)
    dashboard = service.dashboard_port(cluster.raw_spec["scheduler"].get("service"))
    tls = of_joining(observed.scheduler, cluster, policy)
    template = children.WorkerTemplate(
        observed.group, scheduler_address(cluster, tls), dashboard["port"] if dashboard else None, tls
    )
    new_names = _new_names(observed)
    for _ in range(count):
        draft.actions.append(Create(template.pod(next(new_names))))


def _new_names(observed: ObservedGroup) -> Iterator[str]:
    taken = {pod.name for pod in observed.pods}
    # A pod whose creation got no answer may exist: asking again under its name can't make a second one.
    yield from (name for name in observed.undecided if name not in taken)
    number = 0
    while True:
        suffix = hashlib.sha256(f"{observed.entropy}/{number}".encode()).hexdigest()[:10]
        yield names.worker(observed.group.name, suffix)
        number += 1


def _update_metadata(draft: Draft, observed: ObservedGroup) -> None:
    desired = children.worker_pod_metadata(observed.group)
    for pod in observed.own_pods:
        if pod.is_live and (patch := metadata_patch(pod.meta, desired)):
            draft.actions.append(Patch("Pod", pod.name, pod.meta.uid, patch))
