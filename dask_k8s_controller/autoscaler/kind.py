"""The kind DaskAutoscaler, put together."""

from __future__ import annotations

from collections.abc import Iterable

from dask_k8s_controller.autoscaler.observe import gather, keys, workforce_of
from dask_k8s_controller.autoscaler.plan import plan
from dask_k8s_controller.autoscaler.spec import Autoscaler
from dask_k8s_controller.autoscaler.status import is_up_to_date, notices, status
from dask_k8s_controller.cache.cache import Cache
from dask_k8s_controller.cluster.spec import Cluster
from dask_k8s_controller.kubernetes.resources import AUTOSCALERS, Key
from dask_k8s_controller.plans.kind import Kind


def concerned(cache: Cache, key: Key) -> Iterable[Key]:
    """Name the autoscalers with something to do or to tell after an answer to the one that asks for all."""
    autoscaler = cache.get(Autoscaler, key.namespace, key.name)
    if autoscaler is not None:
        workforce = workforce_of(cache, cache.get(Cluster, key.namespace, autoscaler.cluster))
        if workforce.first == key.name:
            for member in workforce.members.values():
                if member.autoscaler is not None and not is_up_to_date(member, workforce):
                    yield Key(Autoscaler.kind, key.namespace, member.autoscaler.name)


AUTOSCALER = Kind(AUTOSCALERS, Autoscaler, gather, plan, status, keys, notices, concerned=concerned)
