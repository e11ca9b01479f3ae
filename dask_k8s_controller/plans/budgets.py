"""PodDisruptionBudgets: how many pods may be evicted at the same time. Pure.

https://kubernetes.io/docs/tasks/run-application/configure-pdb/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dask_k8s_controller.cache.custom import Custom
from dask_k8s_controller.plans.actions import Object
from dask_k8s_controller.plans.ownership import owner_reference
from dask_k8s_controller.plans.unread import Unread
from dask_k8s_models import labels


def disruption_budget(owner: Custom[Any], name: str, pods: Mapping[str, str], spec: Object | None) -> Unread:
    """Return the budget of these pods.

    Parameters
    ----------
    owner : Custom
        What it goes with.
    name : str
        What it is called.
    pods : mapping
        Labels of the pods.
    spec : dict, optional
        What it allows; None if none is wanted.
    """
    inherited = {key: value for key, value in pods.items() if key != labels.COMPONENT}
    metadata = {
        "name": name,
        "namespace": owner.meta.namespace,
        "labels": labels.merged(owner.meta.labels, None, inherited),
        "ownerReferences": [owner_reference(owner)],
    }

    def budget(allowed: Object) -> Object:
        return {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": metadata,
            "spec": {"selector": {"matchLabels": dict(pods)}, **allowed},
        }

    # A share of maxUnavailable would be one of the replicas that the owner asks for: of none, nothing goes.
    lifted = budget({"minAvailable": 0})
    return Unread("disruptionBudgetName", None if spec is None else budget(spec), lifted)
