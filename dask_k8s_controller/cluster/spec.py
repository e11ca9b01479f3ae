"""A DaskCluster, parsed. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from dask_k8s_controller.cache.custom import Custom
from dask_k8s_models import names
from dask_k8s_models.cluster import ClusterSpec
from dask_k8s_models.hashes import template_hash


@dataclass(frozen=True)
class Cluster(Custom[ClusterSpec]):
    """A DaskCluster."""

    kind: ClassVar[str] = "DaskCluster"
    model = ClusterSpec

    @cached_property
    def scheduler_hash(self) -> str:
        """What tells whether a scheduler's pod was made from this spec."""
        return template_hash(self.spec.scheduler.spec) if self.spec else ""

    @property
    def is_suspended(self) -> bool:
        """The user wants no pods for now."""
        return self.spec is not None and self.spec.suspend

    @property
    def default_group(self) -> str:
        """The name of the cluster's default group."""
        return names.default_group(self.name)
