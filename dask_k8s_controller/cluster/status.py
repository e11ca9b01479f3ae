"""The status of clusters and groups: pure functions of what was observed, planned, and became of the plan."""

from __future__ import annotations

from collections.abc import Iterable

from dask_k8s_controller.cache.objects import moment
from dask_k8s_controller.cluster import children
from dask_k8s_controller.cluster.certificate import certificate_condition
from dask_k8s_controller.cluster.network_policy import policy_of
from dask_k8s_controller.cluster.observe import ClusterPlan, ObservedCluster
from dask_k8s_controller.cluster.tls import TLS, of_new_scheduler, of_pod, wanted
from dask_k8s_controller.plans.actions import Outcome
from dask_k8s_controller.plans.conditions import (
    WAITING,
    Condition,
    Status,
    holds,
    remarks_of,
    selector,
    summary,
    written,
)
from dask_k8s_controller.plans.notices import Notice, changes
from dask_k8s_controller.plans.plan import Remark
from dask_k8s_controller.plans.pod_problems import command_of, problem_of
from dask_k8s_controller.worker_group.spec import WorkerGroup
from dask_k8s_models.cluster import ClusterPhase
from dask_k8s_models.labels import Component
from dask_k8s_models.scalars import to_time
from dask_k8s_models.security import TLSSpec


def first_status(observed: ObservedCluster) -> Status | None:
    """The first status of a cluster, written before anything is created: it tells that a controller acts."""
    if observed.cluster.status.get("phase"):
        return None
    waiting = Remark("Created", "The controller has taken note of the cluster.")
    meta = observed.cluster.meta
    return {
        "phase": ClusterPhase.CREATED.value,
        "observedGeneration": meta.generation,
        "conditions": written(
            summary(False, (), waiting), observed.cluster.status, meta.generation, observed.now
        ),
    }


def status(observed: ObservedCluster, plan: ClusterPlan, outcome: Outcome) -> Status:
    """The status of a cluster."""
    cluster, previous = observed.cluster, observed.cluster.status
    generation = cluster.meta.generation
    groups = sorted(
        (group for group in observed.groups if not group.meta.is_deleting), key=lambda group: group.name
    )
    scheduler = _scheduler_ready(observed)
    workers = _workers_ready(groups)
    was_ready = holds(previous, "Ready", generation)
    # Once all groups have been complete, autoscaling no longer looks like a rollout.
    have_been_complete = was_ready or (workers.holds and outcome.is_complete)
    is_ready = scheduler.holds and have_been_complete and not cluster.is_suspended
    remarks = [*plan.remarks, *remarks_of(outcome), *_scheduler_problems(observed)]
    unready = scheduler if not scheduler.holds else workers
    waiting = Remark(unready.reason, unready.message)
    spec = wanted(cluster, plan.policy)
    tls = _tls(observed, spec)
    conditions = (
        *summary(is_ready, remarks, waiting),
        scheduler,
        workers,
        Condition("Suspended", cluster.is_suspended, "Suspended" if cluster.is_suspended else "NotSuspended"),
        *([certificate_condition(observed, moment(tls.get("notAfter")))] if tls else []),
        *_scheduler_leaves(observed),
    )
    desired: Status = {
        "phase": _phase(observed),
        "observedGeneration": generation,
        "conditions": written(conditions, previous, generation, observed.now),
        "workerGroups": [_group_summary(group) for group in groups],
    }
    default = observed.default_group
    counts = default.status if default is not None else {}
    desired["replicas"] = counts.get("replicas") or 0
    desired["readyReplicas"] = counts.get("readyReplicas") or 0
    desired["selector"] = selector(cluster.name, cluster.default_group)
    if tls:
        desired["tls"] = tls
    # Whom a policy lets through doesn't change its name.
    desired |= policy_of(cluster, []).as_status(previous, observed.applied_policy)
    desired |= children.budget_of(cluster).as_status(previous, observed.applied_budget)
    if cluster.spec is not None:
        spoken = of_pod(observed.scheduler) if observed.scheduler else _desired_tls(observed, spec)
        desired["schedulerAddress"] = children.scheduler_address(cluster, spoken)
        if (dashboard := children.dashboard_address(cluster, spoken)) is not None:
            desired["dashboardAddress"] = dashboard
    return desired


def _desired_tls(observed: ObservedCluster, spec: TLSSpec | None) -> TLS | None:
    """Return how the next scheduler is to speak TLS."""
    return of_new_scheduler(spec, observed.certificate) if spec else None


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
    was_told = any(item["type"] == NODE_LEAVING for item in observed.cluster.status.get("conditions") or ())
    return [Condition(NODE_LEAVING, False, "SchedulerNodeStays")] if was_told else []


def notices(observed: ObservedCluster, plan: ClusterPlan, outcome: Outcome, status: Status) -> list[Notice]:
    """Find what is worth an Event."""
    return changes(observed.cluster.status, status, NODE_LEAVING)


def _phase(observed: ObservedCluster) -> str:
    cluster = observed.cluster
    if cluster.spec is None:
        return ClusterPhase.ERROR.value
    if cluster.is_suspended:
        return ClusterPhase.PENDING.value
    if cluster.status.get("phase") == ClusterPhase.RUNNING:
        return ClusterPhase.RUNNING.value
    service = observed.service
    has_service = service is not None and not service.meta.is_deleting
    awaits_ingress = service is not None and service.spec.get("type") == "LoadBalancer"
    has_address = has_service and (not awaits_ingress or (service is not None and service.has_ingress))
    exists = observed.scheduler is not None and has_address and observed.default_group is not None
    return (ClusterPhase.RUNNING if exists else ClusterPhase.PENDING).value


def _scheduler_ready(observed: ObservedCluster) -> Condition:
    scheduler, service = observed.scheduler, observed.service
    if scheduler is None:
        reason = "Suspended" if observed.cluster.is_suspended else "SchedulerMissing"
        return Condition("SchedulerReady", False, reason, "There is no scheduler pod.")
    if not scheduler.is_ready:
        message = f"Pod {scheduler.name} is not ready yet."
        return Condition("SchedulerReady", False, "SchedulerNotReady", message)
    if service is None or service.meta.is_deleting:
        return Condition("SchedulerReady", False, "ServiceMissing", "There is no Service of the scheduler.")
    if service.spec.get("type") == "LoadBalancer" and not service.has_ingress:
        message = f"Service {service.meta.name} waits for the address of its load balancer."
        return Condition("SchedulerReady", False, "LoadBalancerPending", message)
    return Condition("SchedulerReady", True, "SchedulerReady", f"Pod {scheduler.name} is ready.")


def _scheduler_problems(observed: ObservedCluster) -> list[Remark]:
    scheduler = observed.raw_scheduler_spec
    command = command_of(scheduler, Component.SCHEDULER)
    found = [problem_of(pod, command) for pod in observed.own_pods if not pod.is_ready]
    return [remark for remark in found if remark is not None]


def _workers_ready(groups: Iterable[WorkerGroup]) -> Condition:
    """Whether every group has reached its replicas."""
    groups = list(groups)
    lacking = [group for group in groups if not _is_complete(group)]
    total = sum(_ready(group) for group in groups)
    wanted = sum(group.replicas for group in groups)
    message = f"{total} of {wanted} workers are ready."
    if not lacking and groups:
        return Condition("WorkersReady", True, "WorkersReady", message)
    problems = [_problem_of_group(group) for group in lacking]
    known = [problem for problem in problems if problem is not None]
    if known:
        return Condition("WorkersReady", False, known[0].reason, f"{message} {known[0].message}")
    return Condition("WorkersReady", False, WAITING, message)


def _is_complete(group: WorkerGroup) -> bool:
    is_observed = group.status.get("observedGeneration") == group.meta.generation
    return is_observed and holds(group.status, "Ready", group.meta.generation)


def _ready(group: WorkerGroup) -> int:
    return int(group.status.get("readyReplicas") or 0)


def _problem_of_group(group: WorkerGroup) -> Remark | None:
    for item in group.status.get("conditions") or ():
        if item["type"] == "Ready" and item["status"] == "False":
            return Remark(item.get("reason") or "", f"Group {group.name}: {item.get('message') or ''}")
    return None


def _group_summary(group: WorkerGroup) -> Status:
    return {
        "name": group.name,
        "replicas": int(group.status.get("replicas") or 0),
        "readyReplicas": _ready(group),
    }
