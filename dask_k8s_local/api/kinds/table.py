"""Which built-in resource behaves how."""

from __future__ import annotations

from collections.abc import Iterator

from dask_k8s_local.api import names
from dask_k8s_local.api.builtin import BUILTIN, definition_name
from dask_k8s_local.api.kinds.crds import CrdStrategy
from dask_k8s_local.api.kinds.namespaces import NamespaceStrategy
from dask_k8s_local.api.kinds.pods import PodStrategy
from dask_k8s_local.api.kinds.services import ServiceStrategy
from dask_k8s_local.api.schema import definition
from dask_k8s_local.api.store import Store
from dask_k8s_local.api.strategy import GenerationStrategy, ScalePaths, Served, Strategy

_SCALE = ScalePaths(".spec.replicas", ".status.replicas", ".status.selector")


class _WithStatus(Strategy):
    has_status = True


class _AnyPathSegment(Strategy):
    valid_name = staticmethod(names.path_segment_problem)


def builtin(store: Store) -> Iterator[Served]:
    """Yield the built-in resources with their behaviour."""
    strategies: dict[str, Strategy] = {
        "namespaces": NamespaceStrategy(),
        "pods": PodStrategy(),
        "services": ServiceStrategy(store),
        "customresourcedefinitions.apiextensions.k8s.io": CrdStrategy(),
        "deployments.apps": GenerationStrategy(),
        "replicasets.apps": GenerationStrategy(),
        "poddisruptionbudgets.policy": GenerationStrategy(),
        "horizontalpodautoscalers.autoscaling": _WithStatus(),
        "clusterrolebindings.rbac.authorization.k8s.io": _AnyPathSegment(),
        "clusterroles.rbac.authorization.k8s.io": _AnyPathSegment(),
        "rolebindings.rbac.authorization.k8s.io": _AnyPathSegment(),
        "roles.rbac.authorization.k8s.io": _AnyPathSegment(),
    }
    for resource in BUILTIN:
        ordinary = _WithStatus() if "status" in resource.subresources else Strategy()
        yield Served(
            resource,
            definition(definition_name(resource)),
            strategies.get(resource.full_name, ordinary),
            scale=_SCALE if "scale" in resource.subresources else None,
        )
