"""A DaskWorkerGroup, parsed. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from dask_k8s_controller.cache.custom import Custom, parsed
from dask_k8s_controller.cache.objects import JsonObject, Meta
from dask_k8s_controller.cluster.spec import Cluster
from dask_k8s_models.hashes import template_hash
from dask_k8s_models.worker_group import WorkerGroupSpec


@dataclass(frozen=True)
class WorkerGroup(Custom[WorkerGroupSpec]):
    """A DaskWorkerGroup."""

    kind: ClassVar[str] = "DaskWorkerGroup"

    @classmethod
    def of(cls, body: JsonObject) -> WorkerGroup:
        """Parse a DaskWorkerGroup."""
        spec, raw, problem = parsed(WorkerGroupSpec, body)
        return cls(Meta.of(body), spec, raw, body.get("status") or {}, problem)

    @cached_property
    def worker_hash(self) -> str:
        """What tells whether a worker's pod was made from this spec."""
        return template_hash(self.spec.worker.spec) if self.spec else ""

    @property
    def cluster(self) -> str:
        """The name of the cluster that the group belongs to."""
        return str(self.raw_spec.get("cluster") or "")

    @property
    def replicas(self) -> int:
        """How many workers there should be."""
        return self.spec.worker.replicas if self.spec else 0

    def wants_workers(self, cluster: Cluster | None) -> bool:
        """Whether the group has or awaits workers that can take over what others of that cluster hold."""
        is_of_another = (
            cluster is not None
            and self.meta.owner is not None
            and self.meta.owner.kind == "DaskCluster"
            and self.meta.owner.uid != cluster.meta.uid
        )
        return self.replicas > 0 and not self.meta.is_deleting and not is_of_another
