"""A DaskWorkerGroup, parsed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from dask_k8s_controller.cache.custom import Custom
from dask_k8s_models.hashes import digest, template_hash
from dask_k8s_models.pods import has_gpus, worker_resources, worker_threads
from dask_k8s_models.worker_group import WorkerGroupSpec


@dataclass(frozen=True)
class WorkerGroup(Custom[WorkerGroupSpec]):
    """A DaskWorkerGroup."""

    kind: ClassVar[str] = "DaskWorkerGroup"
    model = WorkerGroupSpec

    @cached_property
    def worker_hash(self) -> str:
        """What tells whether a worker's pod was made from this spec."""
        if self.spec is None:
            return ""
        template = template_hash(self.spec.worker.spec)
        resources = self.spec.worker.resources
        return digest({"template": template, "resources": resources}) if resources else template

    @cached_property
    def resources(self) -> Mapping[str, float]:
        """The abstract resources that each worker offers, as far as the spec says."""
        return worker_resources(*self._pod, (self.raw_spec.get("worker") or {}).get("resources"))

    @cached_property
    def offers(self) -> str:
        """What tells whether a worker's pod was made to offer these resources, from this spec."""
        return digest({"template": self.worker_hash, "resources": dict(self.resources)})

    @cached_property
    def threads(self) -> int:
        """How many threads each worker has; 0 if the spec doesn't say."""
        return worker_threads(*self._pod)

    @cached_property
    def has_gpus(self) -> bool:
        """Whether its pods have GPUs."""
        return has_gpus(*self._pod)

    @property
    def _pod(self) -> tuple[Mapping[str, Any], Mapping[str, str] | None]:
        """The spec of its pods, and their annotations."""
        worker = self.raw_spec.get("worker") or {}
        return worker.get("spec") or {}, (worker.get("metadata") or {}).get("annotations")

    @property
    def cluster(self) -> str:
        """The name of the cluster that the group belongs to."""
        return str(self.raw_spec.get("cluster") or "")

    @property
    def replicas(self) -> int:
        """How many workers there should be."""
        return self.spec.worker.replicas if self.spec else 0

    @property
    def rolls(self) -> bool:
        """Whether workers of an older template are replaced."""
        return self.spec is not None and self.spec.worker.update_strategy().type == "RollingUpdate"

    @property
    def chooses_node(self) -> bool:
        """Whether all its workers are for one node, whatever is said about that."""
        return bool((self.raw_spec.get("worker") or {}).get("spec", {}).get("nodeName"))
