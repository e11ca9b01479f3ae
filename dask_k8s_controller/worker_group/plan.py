"""What to do next about a DaskWorkerGroup: a pure function of what was observed.

The pods of a group are *live* (they run or will run), *ended* (they failed or succeeded, and are replaced) or
being deleted. A live pod is *active* until it is chosen to go; then it is *marked*, its workers are retired,
and it is deleted. Only active pods count against the replicas. Those whose nodes are about to go are *moving*
instead: they get successors first, and are chosen when these are at work.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import count, islice

from dask_k8s_controller.cache.objects import Pod
from dask_k8s_controller.cluster.children import scheduler_address
from dask_k8s_controller.cluster.observe import run_by_another
from dask_k8s_controller.cluster.spec import Cluster
from dask_k8s_controller.cluster.tls import are_settled, is_refused, of_joining
from dask_k8s_controller.plans.actions import Ask, Create
from dask_k8s_controller.plans.metadata import follow
from dask_k8s_controller.plans.ownership import delete_leftovers, is_of_an_earlier_owner
from dask_k8s_controller.plans.plan import Plan
from dask_k8s_controller.plans.pod_problems import replaced_at
from dask_k8s_controller.settings import Policy
from dask_k8s_controller.worker_group import children
from dask_k8s_controller.worker_group.observe import GroupPlan, ObservedGroup
from dask_k8s_controller.worker_group.retirement import (
    plan_moves,
    plan_retirement,
    plan_rollout,
    plan_shrinking,
)
from dask_k8s_models import names, service

BETWEEN_ANNOUNCEMENTS = 5.0
"""Seconds; a scheduler takes it that nobody comes if it hears nothing for 20 s."""

LONGEST_WORKER_POLL = 30.0
"""Seconds between looks whether the scheduler knows the worker of a pod that has been ready for long."""


def plan(observed: ObservedGroup, policy: Policy) -> GroupPlan:
    """Decide what to do next about a group of workers."""
    draft = Plan(observed, policy)
    group, cluster = observed.subject, observed.cluster
    delete_leftovers(draft, observed.pods)
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
        # At once and without retiring: the scheduler and all its workers go together.
        draft.delete_all(observed.own_pods, "the cluster is suspended")
        draft.remark("Suspended", f"The DaskCluster {group.cluster} is suspended.")
    elif is_refused(cluster, policy):
        draft.remark("ClusterRefused", f"The DaskCluster {group.cluster} has no TLS, which is required.")
    else:
        _converge(draft, cluster)
    return draft


def _converge(draft: GroupPlan, cluster: Cluster) -> None:
    observed, group = draft.observed, draft.observed.subject
    group.once(children.budget_of).plan(draft)
    draft.delete_all(observed.cut_off, "its certificate isn't that of the present scheduler")
    # One worker alone is replaced by another before it goes, so that someone can take its results over.
    surge = 1 if observed.outdated and group.replicas == 1 else 0
    kept_slots = _replace_ended(draft)
    surplus = len(observed.active) - group.replicas - surge
    if surplus < 0:
        _grow(draft, cluster, -surplus - kept_slots)
    if surplus > 0:
        plan_shrinking(draft, surplus)
    else:
        plan_rollout(draft)
    plan_moves(draft)
    plan_retirement(draft)
    _announce_successors(draft)
    if surplus <= 0 and not observed.marked:
        _await_workers(draft)
    desired = group.once(children.worker_pod_metadata)
    for pod in observed.own_pods:
        if pod.is_live:
            follow(draft, pod, desired)


def _await_workers(draft: GroupPlan) -> None:
    """Ask the scheduler until it knows the workers of all ready pods: then the status counts them."""
    observed = draft.observed
    if observed.scheduler is None or not observed.scheduler.is_ready:
        return
    ready = [pod for pod in observed.own_pods if pod.is_live and pod.is_ready and not pod.is_retiring]
    answer, known = observed.workers, observed.attribution
    unknown = [pod for pod in ready if answer is None or not known.may_have_workers(pod)]
    if unknown:
        # Most register within seconds; some never do.
        youngest = min((_age(pod, observed.now) for pod in unknown), default=0.0)
        poll = min(max(draft.policy.worker_poll, youngest / 10), LONGEST_WORKER_POLL)
        draft.ask_again(poll, Ask.WORKERS, answer)


def _announce_successors(draft: GroupPlan) -> None:
    """Have workers that others evict or delete wait for their successors, however long these take."""
    observed = draft.observed
    leaving = (pod for pod in observed.own_pods if pod.meta.is_deleting and not pod.is_retiring)
    is_heard = observed.scheduler is not None and observed.scheduler.is_ready
    if is_heard and observed.subject.replicas and not all(pod.runs_nothing for pod in leaving):
        draft.ask_again(BETWEEN_ANNOUNCEMENTS, Ask.TO_EXPECT, observed.expecting)


def _age(pod: Pod, now: datetime) -> float:
    return max(0.0, (now - pod.meta.created).total_seconds()) if pod.meta.created else 0.0


def _replace_ended(draft: GroupPlan) -> int:
    """Delete pods that ended, so that others take their place; count those that are left for a while."""
    kept = 0
    for pod in draft.observed.own_pods:
        if pod.has_ended and not pod.meta.is_deleting:
            due = None if _lost_its_scheduler(draft, pod) else replaced_at(pod, draft.policy)
            if pod.is_retiring or due is None or not draft.waits_until(due):
                draft.delete(pod, "it has ended")
            else:
                kept += 1
    return kept


def _lost_its_scheduler(draft: GroupPlan, pod: Pod) -> bool:
    """Whether the scheduler is younger than a pod: that is why the pod has ended."""
    started = draft.observed.scheduler.meta.created if draft.observed.scheduler else None
    return started is not None and pod.meta.created is not None and started > pod.meta.created


def _grow(draft: GroupPlan, cluster: Cluster, number: int) -> None:
    observed, policy = draft.observed, draft.policy
    if policy.batch_size is not None:
        number = min(number, policy.batch_size)
        newest = max((pod.meta.created for pod in observed.own_pods if pod.meta.created), default=None)
        due = newest + timedelta(seconds=policy.batch_delay) if newest and policy.batch_delay else None
        if due is not None and draft.waits_until(due):
            return
    if not are_settled(observed.scheduler, cluster, policy):
        draft.remark("CertificateMissing", f"Waiting for the certificate of the DaskCluster {cluster.name}.")
        return
    dashboard = service.dashboard_port(cluster.raw_spec["scheduler"].get("service"))
    tls = of_joining(observed.scheduler, cluster, policy)
    port = dashboard["port"] if dashboard else None
    template = children.worker_template(observed.subject, scheduler_address(cluster, tls), port, tls)
    # The events of so many give the group its next reconcile.
    for name in islice(_new_names(observed), max(0, min(number, policy.burst))):
        draft.actions.append(Create(children.worker_pod(template, name)))


def _new_names(observed: ObservedGroup) -> Iterator[str]:
    taken = {pod.name for pod in observed.pods}
    # A pod whose creation got no answer may exist: asking again under its name can't make a second one.
    yield from (name for name in observed.undecided if name not in taken)
    for number in count():
        suffix = hashlib.sha256(f"{observed.entropy}/{number}".encode()).hexdigest()[:10]
        yield names.worker(observed.subject.name, suffix)
