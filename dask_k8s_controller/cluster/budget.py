"""A cluster's PodDisruptionBudget: its scheduler may not be evicted. Pure."""

from __future__ import annotations

from dask_k8s_controller.cluster.spec import Cluster
from dask_k8s_controller.plans.budgets import disruption_budget
from dask_k8s_controller.plans.unread import Unread
from dask_k8s_models import labels, names


def budget_of(cluster: Cluster) -> Unread:
    """Return the budget of a cluster's scheduler."""
    is_asked = cluster.spec is not None and cluster.spec.scheduler.disruptionBudget is not None
    spec = {"maxUnavailable": 0} if is_asked else None
    return disruption_budget(cluster, names.scheduler(cluster.name), labels.scheduler(cluster.name), spec)
