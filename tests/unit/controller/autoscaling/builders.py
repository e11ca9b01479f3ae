"""An autoscaler and what it sees, in as few words as a test needs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dask_k8s_controller.autoscaler.observe import ObservedAutoscaler
from dask_k8s_controller.autoscaler.plan import AutoscalerPlan
from dask_k8s_controller.autoscaler.plan import plan as plan_autoscaler
from dask_k8s_controller.autoscaler.spec import Autoscaler
from dask_k8s_controller.autoscaler.workforce import GroupOfWorkers, Workforce
from dask_k8s_controller.cache.objects import Pod
from dask_k8s_controller.plans.actions import Ask, SetScale
from dask_k8s_controller.scheduler.answers import Answer, Demand, Need, Problem
from dask_k8s_controller.settings import Policy
from dask_k8s_controller.worker_group.spec import WorkerGroup
from tests.unit.controller.builders import (
    NOW,
    answer,
    cluster,
    group_body,
    metadata,
    scheduler_pod,
    time,
    worker,
    worker_pod,
)


def autoscaler(name: str = "c", uid: str = "autoscaler", **spec: Any) -> Autoscaler:
    return Autoscaler.of(autoscaler_body(name, uid, **spec))


def autoscaler_body(name: str, uid: str = "", **spec: Any) -> dict[str, Any]:
    more = spec.pop("metadata", {})
    status = spec.pop("status", {})
    owner = {"kind": "DaskCluster", "name": "c", "uid": "cluster", "controller": True}
    return {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskAutoscaler",
        "metadata": metadata(name, uid, **{"ownerReferences": [owner], **more}),
        "spec": {"cluster": "c", **spec},
        "status": status,
    }


def demand(workers: int, *needs: Need, age: float = 0) -> Answer[Demand]:
    return Answer(-age, Demand(workers, needs))


def no_demand(problem: Problem, age: float = 0) -> Answer[Demand]:
    return Answer(-age, None, problem, "in its own words")


def members(
    replicas: int, *, busy: int = 0, holding: int = 0, unregistered: int = 0, name: str = "c-default"
) -> tuple[GroupOfWorkers, Answer[Any]]:
    """A group of ready pods, and what the scheduler says of them: some busy, some holding, some unknown."""
    group = WorkerGroup.of(group_body(name, uid=name, replicas=replicas))
    count, network = replicas, f"10.0.{len(name)}"
    pods = tuple(worker_pod(f"{name}-{n}", group=name, ip=f"{network}.{n}") for n in range(count))
    known = [
        worker(
            f"{network}.{n}:4000", executing=int(n < busy), keys=int(n < holding), nbytes=8 * (n < holding)
        )
        for n in range(count - unregistered)
    ]
    return GroupOfWorkers(group, pods), answer(*known)


def observed(
    of: Autoscaler | None = None,
    *,
    others: tuple[GroupOfWorkers, ...] = (),
    siblings: tuple[Autoscaler, ...] = (),
    **more: Any,
) -> ObservedAutoscaler:
    """An autoscaler of a running cluster with 4 idle workers, of which the scheduler could use 4."""
    of = of or autoscaler()
    target, workers = members(4)
    target, workers = more.pop("target", target), more.pop("workers", workers)
    asked = more.pop("demand", demand(4))
    more = {"cluster": cluster(), "scheduler": scheduler_pod(), **more}
    scalers = {one.worker_group: one for one in (*siblings, of)}
    groups = {one.group.name: one for one in (*([target] if target else ()), *others)}
    everybody = Workforce(
        {name: replace(one, autoscaler=scalers.get(name)) for name, one in groups.items()}, asked, workers
    )
    more |= {"target": target, "workers": workers, "workforce": everybody}
    return ObservedAutoscaler(subject=of, now=NOW, **more)


def heard(seen: ObservedAutoscaler, **answers: Any) -> ObservedAutoscaler:
    """The same after other answers of the scheduler: ``demand``, ``workers``."""
    seen = replace(seen, workforce=replace(seen.workforce, **answers))
    return replace(seen, workers=seen.workforce.workers)


def with_members(of: Autoscaler, wants: int, replicas: int, **members_are: int) -> ObservedAutoscaler:
    """The scheduler could use so many workers, and there are so many."""
    target, workers = members(replicas, **members_are)
    return observed(of, target=target, workers=workers, demand=demand(wants))


def plan(seen: ObservedAutoscaler, **policy: Any) -> AutoscalerPlan:
    return plan_autoscaler(seen, Policy(**policy))


def scale_of(planned: AutoscalerPlan) -> SetScale | None:
    return next((action for action in planned.actions if isinstance(action, SetScale)), None)


def scaled_to(planned: AutoscalerPlan) -> int | None:
    scale = scale_of(planned)
    return scale.replicas if scale is not None else None


def asks_demand(planned: AutoscalerPlan) -> bool:
    return Ask.DEMAND in planned.questions


def reasons(planned: AutoscalerPlan) -> list[str]:
    return [remark.reason for remark in planned.remarks]


def stalled(planned: AutoscalerPlan) -> list[str]:
    return [remark.reason for remark in planned.remarks if remark.needs_a_person]


def changed(seconds_ago: float, replicas: int) -> dict[str, Any]:
    """The status after the number of workers was changed."""
    return {"currentReplicas": replicas, "lastScaleTime": time(-seconds_ago)}


def unready(pod: Pod) -> Pod:
    return replace(pod, is_ready=False, phase="Pending")
