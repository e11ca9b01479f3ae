"""The status of a cluster: a pure function of what was observed, planned, and became of the plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dask_k8s_controller.cache.objects import Service, moment
from dask_k8s_controller.cluster import children
from dask_k8s_controller.cluster.certificate import certificate_condition
from dask_k8s_controller.cluster.network_policy import policy_of
from dask_k8s_controller.cluster.observe import ClusterPlan, ObservedCluster
from dask_k8s_controller.cluster.tls import of_new_scheduler, of_pod, wanted
from dask_k8s_controller.plans import conditions
from dask_k8s_controller.plans.actions import Outcome, Remark
from dask_k8s_controller.plans.conditions import (
    WAITING,
    Condition,
    Status,
    holds,
    stated,
    summary,
)
from dask_k8s_controller.plans.notices import Notice, changes
from dask_k8s_controller.plans.pod_problems import command_of, problems_of
from dask_k8s_controller.worker_group.spec import WorkerGroup
from dask_k8s_models import labels
from dask_k8s_models.cluster import ClusterPhase
from dask_k8s_models.scalars import to_time
from dask_k8s_models.security import TLSSpec


def first_status(observed: ObservedCluster) -> Status | None:
    """The first status of a cluster."""
    noted = Remark("Created", "The controller has taken note of the cluster.")
    return conditions.first_status(observed, "phase", noted)


def status(observed: ObservedCluster, plan: ClusterPlan, outcome: Outcome) -> Status:
    """The status of a cluster."""
    cluster, previous = observed.subject, observed.subject.status
    groups = sorted(
        (group for group in observed.groups if not group.meta.is_deleting), key=lambda group: group.name
    )
    scheduler, workers = _scheduler_ready(observed), _workers_ready(groups)
    # Once all groups have been complete, autoscaling no longer looks like a rollout.
    was_ready = holds(previous, "Ready", cluster.meta.generation)
    have_been_complete = was_ready or (workers.holds and outcome.is_complete)
    is_ready = scheduler.holds and have_been_complete and not cluster.is_suspended
    command = command_of(cluster.raw_spec.get("scheduler"), labels.Component.SCHEDULER)
    remarks = [*plan.remarks, *outcome.remarks, *problems_of(observed.own_pods, command)]
    spec = wanted(cluster, plan.policy)
    tls = _tls(observed, spec)
    told = (
        *summary(is_ready, remarks, workers if scheduler.holds else scheduler),
        scheduler,
        workers,
        Condition("Suspended", cluster.is_suspended, "Suspended" if cluster.is_suspended else "NotSuspended"),
        *([certificate_condition(observed, moment(tls.get("notAfter")))] if tls else []),
        *_scheduler_leaves(observed),
    )
    default = observed.default_group.status if observed.default_group else {}
    desired: Status = {
        "phase": _phase(observed),
        **stated(observed, told),
        "workerGroups": [_counts(group.status, name=group.name) for group in groups],
        **_counts(default),
        "selector": labels.selector(labels.worker(cluster.name, cluster.default_group)),
        **({"tls": tls} if tls else {}),
        # Whom a policy lets through doesn't change its name.
        **policy_of(cluster, []).as_status(observed),
        **cluster.once(children.budget_of).as_status(observed),
    }
    if cluster.spec is not None:
        pod = observed.scheduler
        spoken = of_pod(pod) if pod else of_new_scheduler(spec, observed.certificate)
        desired["schedulerAddress"] = children.scheduler_address(cluster, spoken)
        if (dashboard := children.dashboard_address(cluster, spoken)) is not None:
            desired["dashboardAddress"] = dashboard
    return desired


def _counts(of: Mapping[str, Any], **more: str) -> Status:
    """Return the numbers of a group's workers, as its status has them."""
    return {**more, "replicas": of.get("replicas") or 0, "readyReplicas": of.get("readyReplicas") or 0}


def _tls(observed: ObservedCluster, spec: TLSSpec | None) -> dict[str, str]:
    """Tell of the certificate that new pods get; nothing if they get none, or there is none yet."""
    if spec is None:
        return {}
    if spec.secretName is not None:
        known = observed.served.value if observed.served else None
        seen = {"certificate": known.pem, "notAfter": to_time(known.not_after)} if known else {}
        return {"secretName": spec.secretName, **seen}
    return observed.certificate.as_status() if observed.certificate else {}


NODE_LEAVING = "SchedulerNodeLeaving"


def _scheduler_leaves(observed: ObservedCluster) -> list[Condition]:
    """Say that the scheduler's node is about to go; nothing unless that is so, or was."""
    scheduler = observed.scheduler
    if scheduler is not None and observed.scheduler_leaves:
        message = (
            f"The node {scheduler.node} is about to go. The pod {scheduler.name} will be evicted with it and "
            "made again elsewhere, but what its workers hold and compute is lost then. Finish or save what "
            f"matters; `kubectl delete pod {scheduler.name}` has it made again elsewhere at once."
        )
        return [Condition(NODE_LEAVING, True, NODE_LEAVING, message)]
    was_told = observed.subject.condition(NODE_LEAVING)
    return [Condition(NODE_LEAVING, False, "SchedulerNodeStays")] if was_told else []


def notices(observed: ObservedCluster, plan: ClusterPlan, outcome: Outcome, status: Status) -> list[Notice]:
    """Find what is worth an Event."""
    return changes(observed.subject.status, status, NODE_LEAVING)


def _phase(observed: ObservedCluster) -> str:
    cluster, service = observed.subject, observed.service
    if cluster.spec is None:
        return ClusterPhase.ERROR.value
    has_address = service is not None and not service.meta.is_deleting and not _awaits_ingress(service)
    exists = observed.scheduler is not None and has_address and observed.default_group is not None
    has_existed = cluster.status.get("phase") == ClusterPhase.RUNNING
    runs = (exists or has_existed) and not cluster.is_suspended
    return (ClusterPhase.RUNNING if runs else ClusterPhase.PENDING).value


def _awaits_ingress(service: Service) -> bool:
    return service.spec.get("type") == "LoadBalancer" and not service.has_ingress


def _scheduler_ready(observed: ObservedCluster) -> Condition:
    name, scheduler, service = "SchedulerReady", observed.scheduler, observed.service
    if scheduler is None:
        reason = "Suspended" if observed.subject.is_suspended else "SchedulerMissing"
        return Condition(name, False, reason, "There is no scheduler pod.")
    if not scheduler.is_ready:
        return Condition(name, False, "SchedulerNotReady", f"Pod {scheduler.name} is not ready yet.")
    if service is None or service.meta.is_deleting:
        return Condition(name, False, "ServiceMissing", "There is no Service of the scheduler.")
    if _awaits_ingress(service):
        message = f"Service {service.meta.name} waits for the address of its load balancer."
        return Condition(name, False, "LoadBalancerPending", message)
    return Condition(name, True, "SchedulerReady", f"Pod {scheduler.name} is ready.")


def _workers_ready(groups: Sequence[WorkerGroup]) -> Condition:
    """Whether every group has reached its replicas."""
    lacking = [group for group in groups if not holds(group.status, "Ready", group.meta.generation)]
    total = sum(group.status.get("readyReplicas") or 0 for group in groups)
    message = f"{total} of {sum(group.replicas for group in groups)} workers are ready."
    if not lacking and groups:
        return Condition("WorkersReady", True, "WorkersReady", message)
    for group in lacking:
        ready = group.condition("Ready")
        if ready.get("status") == "False":
            message += f" Group {group.name}: {ready.get('message') or ''}"
            return Condition("WorkersReady", False, ready.get("reason") or "", message)
    return Condition("WorkersReady", False, WAITING, message)
