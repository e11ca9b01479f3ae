"""DaskWorkerGroup: workers of one shape that belong to a cluster."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from dask_k8s_models.base import RuledModel
from dask_k8s_models.markers import Rule
from dask_k8s_models.resource import AGE, NAME_RULE, ClusterName, Column, Resource, ResourceNames, Status
from dask_k8s_models.scalars import Int32
from dask_k8s_models.worker import WorkerSpec


class WorkerGroupSpec(RuledModel):
    """What a group of workers should be."""

    cluster: Annotated[
        ClusterName, Field(description="Name of the DaskCluster that the workers join; it can't be changed.")
    ]
    worker: Annotated[WorkerSpec, Field(description="The workers.")]

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="self.cluster == oldSelf.cluster",
            message="spec.cluster can't be changed: make another DaskWorkerGroup for the other cluster",
            holds=lambda new, old: new.cluster == old.cluster,
            field="cluster",
        ),
    )


class WorkerGroupStatus(Status):
    """What a group of workers is."""

    replicas: Annotated[Int32 | None, Field(description="Workers that exist.")] = None
    readyReplicas: Annotated[Int32 | None, Field(description="Workers that are ready.")] = None
    updatedReplicas: Annotated[
        Int32 | None, Field(description="Workers that were made from the present template.")
    ] = None
    selector: Annotated[
        str | None, Field(description="Label selector of the workers' pods, for autoscalers.")
    ] = None
    disruptionBudgetName: Annotated[
        str | None, Field(description="The PodDisruptionBudget that was made for the workers.")
    ] = None


class DaskWorkerGroup(Resource):
    """Workers of one shape that belong to a DaskCluster."""

    resource_names: ClassVar[ResourceNames] = ResourceNames(
        plural="daskworkergroups",
        singular="daskworkergroup",
        short=("daskworkers",),
        columns=(
            Column("Cluster", "string", ".spec.cluster"),
            Column("Workers", "integer", ".spec.worker.replicas", "Workers that the group should have"),
            Column("Ready", "integer", ".status.readyReplicas", "Workers that are ready"),
            Column("Updated", "integer", ".status.updatedReplicas", priority=1),
            AGE,
        ),
        is_scaled=True,
    )
    rules: ClassVar[tuple[Rule, ...]] = (NAME_RULE,)

    kind: Literal["DaskWorkerGroup"] = "DaskWorkerGroup"
    spec: Annotated[WorkerGroupSpec, Field(description="What the group should be.")]
    status: Annotated[WorkerGroupStatus | None, Field(description="What the group is.")] = None
