"""A DaskAutoscaler, parsed. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from dask_k8s_controller.cache.custom import Custom
from dask_k8s_controller.cache.objects import By
from dask_k8s_models.autoscaler import AutoscalerSpec


@dataclass(frozen=True)
class Autoscaler(Custom[AutoscalerSpec]):
    """A DaskAutoscaler."""

    kind: ClassVar[str] = "DaskAutoscaler"
    model = AutoscalerSpec

    @property
    def cluster(self) -> str:
        """The name of the cluster that is scaled."""
        return str(self.raw_spec.get("cluster") or "")

    @property
    def worker_group(self) -> str:
        """The name of the group that is scaled."""
        return self.spec.worker_group() if self.spec else ""

    @property
    def age(self) -> tuple[float, str]:
        """What autoscalers of one group are ordered by: the oldest scales it."""
        return (self.meta.created.timestamp() if self.meta.created else 0.0, self.name)

    def index(self) -> Iterable[By]:
        """Return the keys by which it is found: its name, its cluster, and the group that it scales."""
        yield from super().index()
        yield By("group", self.meta.namespace, self.worker_group)
