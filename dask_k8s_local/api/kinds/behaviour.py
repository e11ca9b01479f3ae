"""Which built-in resource behaves how."""

from __future__ import annotations

from collections.abc import Iterator

from dask_k8s_local.api.kinds.builtin import BUILTIN, definition_name
from dask_k8s_local.api.kinds.crds import CrdStrategy
from dask_k8s_local.api.kinds.data import DataStrategy, SecretStrategy
from dask_k8s_local.api.kinds.events import EventStrategy, events_alias
from dask_k8s_local.api.kinds.namespaces import NamespaceStrategy
from dask_k8s_local.api.kinds.others import (
    AutoscalerStrategy,
    BindingStrategy,
    BudgetStrategy,
    LeaseStrategy,
    NodeStrategy,
    PriorityClassStrategy,
    RbacStrategy,
    WithStatus,
)
from dask_k8s_local.api.kinds.pods import PodStrategy
from dask_k8s_local.api.kinds.replicated import DeploymentStrategy, ReplicatedStrategy
from dask_k8s_local.api.kinds.served import ScalePaths, Served
from dask_k8s_local.api.kinds.services import ServiceStrategy
from dask_k8s_local.api.kinds.strategy import Strategy
from dask_k8s_local.api.schema.compiled import definition
from dask_k8s_local.api.storage.store import Store

_SCALE = ScalePaths(".spec.replicas", ".status.replicas", ".spec.selector")


def served_builtins(store: Store) -> Iterator[Served]:
    """Yield the built-in resources with their behaviour."""
    rbac = "rbac.authorization.k8s.io"
    strategies: dict[str, Strategy] = {
        "configmaps": DataStrategy(),
        "events": EventStrategy(),
        "namespaces": NamespaceStrategy(),
        "nodes": NodeStrategy(),
        "pods": PodStrategy(),
        "secrets": SecretStrategy(),
        "services": ServiceStrategy(store),
        "customresourcedefinitions.apiextensions.k8s.io": CrdStrategy(),
        "deployments.apps": DeploymentStrategy(),
        "horizontalpodautoscalers.autoscaling": AutoscalerStrategy(),
        "leases.coordination.k8s.io": LeaseStrategy(),
        "poddisruptionbudgets.policy": BudgetStrategy(),
        "priorityclasses.scheduling.k8s.io": PriorityClassStrategy(),
        "replicasets.apps": ReplicatedStrategy(),
        f"clusterrolebindings.{rbac}": BindingStrategy(),
        f"clusterroles.{rbac}": RbacStrategy(),
        f"rolebindings.{rbac}": BindingStrategy(),
        f"roles.{rbac}": RbacStrategy(),
    }
    core_events: Served | None = None
    for resource in BUILTIN:
        ordinary = WithStatus() if "status" in resource.subresources else Strategy()
        served = Served(
            resource,
            definition(definition_name(resource)),
            strategies.get(resource.full_name, ordinary),
            scale=_SCALE if "scale" in resource.subresources else None,
        )
        if resource.full_name == "events":
            core_events = served
        elif resource.full_name == "events.events.k8s.io" and core_events is not None:
            served.alias = events_alias(core_events)
        yield served
