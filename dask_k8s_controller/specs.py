"""Facts of the objects that users write: their metadata, their spec as a model, their status as it stands.

Pure: no kopf, no HTTP.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from dask_k8s_controller.facts import JsonObject, Meta
from dask_k8s_models import names
from dask_k8s_models._kubernetes import PodSpec
from dask_k8s_models.autoscaler import AutoscalerSpec
from dask_k8s_models.cluster import ClusterSpec
from dask_k8s_models.markers import without_nulls
from dask_k8s_models.worker_group import WorkerGroupSpec

S = TypeVar("S", bound=BaseModel)


@dataclass(frozen=True)
class Custom(Generic[S]):
    """An object of one of our kinds.

    Parameters
    ----------
    meta : Meta
        Its metadata.
    spec : BaseModel or None
        Its spec as a model; None if the models refuse it, which our CRDs don't let happen.
    raw_spec : mapping
        Its spec as the user wrote it, without nulls.
    status : mapping
        Its status as we wrote it last.
    problem : str
        What the models have against the spec.
    """

    meta: Meta
    spec: S | None
    raw_spec: JsonObject = field(default_factory=dict)
    status: JsonObject = field(default_factory=dict)
    problem: str = ""

    @property
    def name(self) -> str:
        """The object's name."""
        return self.meta.name


def parsed(model: type[S], body: JsonObject) -> tuple[S | None, JsonObject, str]:
    raw = without_nulls(body.get("spec") or {})
    try:
        return model.model_validate(raw), raw, ""
    except ValidationError as error:
        problems = (
            f"spec.{'.'.join(str(part) for part in item['loc'])}: {item['msg']}"
            for item in error.errors(include_url=False)
        )
        return None, raw, "; ".join(problems)


@dataclass(frozen=True)
class Cluster(Custom[ClusterSpec]):
    """A DaskCluster."""

    @classmethod
    def of(cls, body: JsonObject) -> Cluster:
        """Parse a DaskCluster."""
        spec, raw, problem = parsed(ClusterSpec, body)
        return cls(Meta.of(body), spec, raw, body.get("status") or {}, problem)

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


@dataclass(frozen=True)
class WorkerGroup(Custom[WorkerGroupSpec]):
    """A DaskWorkerGroup."""

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


@dataclass(frozen=True)
class Autoscaler(Custom[AutoscalerSpec]):
    """A DaskAutoscaler."""

    @classmethod
    def of(cls, body: JsonObject) -> Autoscaler:
        """Parse a DaskAutoscaler."""
        spec, raw, problem = parsed(AutoscalerSpec, body)
        return cls(Meta.of(body), spec, raw, body.get("status") or {}, problem)

    @property
    def cluster(self) -> str:
        """The name of the cluster that is scaled."""
        return str(self.raw_spec.get("cluster") or "")

    @property
    def worker_group(self) -> str:
        """The name of the group that is scaled."""
        return self.spec.worker_group() if self.spec else ""


def template_hash(pod_spec: PodSpec) -> str:
    """Condense what the user wrote about a pod.

    Fields that equal their default are left out, as the API server adds them by itself: a new default in a
    newer release must restart nothing.
    """
    written = pod_spec.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    return digest(written)


def digest(value: Mapping[str, Any]) -> str:
    """Condense JSON to 16 hexadecimal digits, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
