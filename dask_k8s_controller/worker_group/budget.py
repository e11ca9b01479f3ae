"""A group's PodDisruptionBudget: how many of its workers may be evicted at the same time. Pure."""

from __future__ import annotations

from dask_k8s_controller.plans.actions import Object
from dask_k8s_controller.plans.budgets import disruption_budget
from dask_k8s_controller.plans.unread import Unread
from dask_k8s_controller.worker_group.spec import WorkerGroup
from dask_k8s_models import labels


def budget_of(group: WorkerGroup) -> Unread:
    """Return the budget of a group's workers."""
    asked = group.spec.worker.disruptionBudget if group.spec else None
    # A worker that never becomes ready holds nothing, and must not keep a node from being drained.
    allowed: Object = {"unhealthyPodEvictionPolicy": "AlwaysAllow"}
    spec = {"maxUnavailable": asked.maxUnavailable, **allowed} if asked else None
    return disruption_budget(group, group.name, labels.worker(group.cluster, group.name), spec)
