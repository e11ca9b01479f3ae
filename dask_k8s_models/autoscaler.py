"""DaskAutoscaler: the number of workers follows what the scheduler has to do."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from dask_k8s_models import names
from dask_k8s_models.base import RuledModel
from dask_k8s_models.markers import Rule
from dask_k8s_models.resource import (
    AGE,
    NAME_RULE,
    ClusterName,
    Column,
    GroupName,
    Resource,
    ResourceNames,
    Status,
)
from dask_k8s_models.scalars import Int32, Percentage, Positive, Time, Window, Workers


class ScaleUp(RuledModel):
    """How fast the number of workers grows."""

    stabilizationWindowSeconds: Annotated[
        Window, Field(description="Wait so many seconds after a change before the number grows.")
    ] = 15
    maxPercent: Annotated[
        Positive | None,
        Field(
            description="Grow a step by at most so many percent of the workers, at least 1; by default any."
        ),
    ] = None


class ScaleDown(RuledModel):
    """How fast the number of workers shrinks."""

    stabilizationWindowSeconds: Annotated[
        Window, Field(description="Wait so many seconds after a change before the number shrinks.")
    ] = 15
    maxPercent: Annotated[
        Percentage,
        Field(description="Shrink a step by at most so many percent of the workers, at least 1."),
    ] = 25


class Behavior(RuledModel):
    """How fast the number of workers follows the demand."""

    scaleUp: Annotated[ScaleUp | None, Field(description="How fast the number grows.")] = None
    scaleDown: Annotated[ScaleDown | None, Field(description="How fast the number shrinks.")] = None


class AutoscalerSpec(RuledModel):
    """What an autoscaler should do."""

    cluster: Annotated[ClusterName, Field(description="Name of the DaskCluster to scale.")]
    minimum: Annotated[Workers, Field(description="There are never fewer workers.")] = 0
    maximum: Annotated[
        Workers | None, Field(description="There are never more workers; without it, 10,000.")
    ] = None
    workerGroup: Annotated[
        GroupName | None,
        Field(description="Name of the DaskWorkerGroup to scale; without it, the cluster's default group."),
    ] = None
    behavior: Annotated[
        Behavior | None, Field(description="How fast the number of workers follows the demand.")
    ] = None

    priority: Annotated[
        Int32,
        Field(
            description="Of the groups that can run a task the one with the lowest priority gets it; among "
            "equals one without GPUs, and then the one that offers the fewest resources."
        ),
    ] = 0

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.maximum) || !has(self.minimum) || self.minimum <= self.maximum",
            message="maximum must not be below minimum",
            holds=lambda spec: spec.maximum is None or spec.minimum <= spec.maximum,
            field="maximum",
        ),
    )

    def worker_group(self) -> str:
        """Return the name of the DaskWorkerGroup that is scaled."""
        return self.workerGroup or names.default_group(self.cluster)

    def scale_up(self) -> ScaleUp:
        """Return how fast the number grows, with defaults."""
        return (self.behavior and self.behavior.scaleUp) or ScaleUp()

    def scale_down(self) -> ScaleDown:
        """Return how fast the number shrinks, with defaults."""
        return (self.behavior and self.behavior.scaleDown) or ScaleDown()


class AutoscalerStatus(Status):
    """What an autoscaler did."""

    desiredReplicas: Annotated[
        Int32 | None, Field(description="Workers that the autoscaler wants, within its bounds.")
    ] = None
    currentReplicas: Annotated[
        Int32 | None, Field(description="Workers that the group was asked for last, by whomever.")
    ] = None
    lastScaleTime: Annotated[
        Time | None, Field(description="When that number changed last, as far as the autoscaler saw it.")
    ] = None
    workerResources: Annotated[
        dict[str, float] | None,
        Field(
            description="What the group's workers offered last, if its spec says something else: a group at "
            "zero starts for the tasks that need this."
        ),
    ] = None
    workerResourcesOf: Annotated[
        str | None, Field(description="A digest of the group's spec that this was seen of.")
    ] = None


class DaskAutoscaler(Resource):
    """Lets the number of a group's workers follow what the Dask scheduler has to do."""

    resource_names: ClassVar[ResourceNames] = ResourceNames(
        plural="daskautoscalers",
        singular="daskautoscaler",
        short=("daskscalers",),
        columns=(
            Column("Cluster", "string", ".spec.cluster"),
            Column("Minimum", "integer", ".spec.minimum"),
            Column("Maximum", "integer", ".spec.maximum"),
            Column("Desired", "integer", ".status.desiredReplicas", "Workers wanted"),
            Column("Group", "string", ".spec.workerGroup", priority=1),
            AGE,
        ),
    )
    rules: ClassVar[tuple[Rule, ...]] = (NAME_RULE,)

    kind: Literal["DaskAutoscaler"] = "DaskAutoscaler"
    spec: Annotated[AutoscalerSpec, Field(description="What the autoscaler should do.")]
    status: Annotated[AutoscalerStatus | None, Field(description="What the autoscaler did.")] = None
