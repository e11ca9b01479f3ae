"""DaskCluster: a scheduler, its Service and a default group of workers."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from dask_k8s_models._kubernetes import PodSpec, ServiceSpec
from dask_k8s_models.base import KubernetesModel, RuledModel
from dask_k8s_models.markers import ListMap, Rule
from dask_k8s_models.resource import (
    AGE,
    CLUSTER_NAME_RULE,
    Column,
    Metadata,
    Resource,
    ResourceNames,
    Status,
)
from dask_k8s_models.scalars import Count, Int32
from dask_k8s_models.security import NetworkPolicySpec, TLSSpec, TLSStatus
from dask_k8s_models.service import SERVICE_RULES, cluster_name_rule
from dask_k8s_models.worker import WorkerSpec


class ClusterPhase(StrEnum):
    """Words of ``status.phase``."""

    CREATED = "Created"
    PENDING = "Pending"
    RUNNING = "Running"
    ERROR = "Error"


class SchedulerDisruptionBudget(KubernetesModel):
    """The scheduler may not be evicted."""


class SchedulerSpec(RuledModel):
    """The scheduler of a cluster."""

    metadata: Annotated[
        Metadata | None, Field(description="Labels and annotations of the scheduler's pod and Service.")
    ] = None
    spec: Annotated[
        PodSpec,
        Field(
            description="The scheduler's pod. The container named scheduler, else the one whose command "
            "says so, runs it."
        ),
    ]
    service: Annotated[
        ServiceSpec | None,
        Field(
            description="The Service that workers and clients reach the scheduler by. Without a selector or "
            "ports it gets those of the scheduler. It can't be an ExternalName, nor have externalIPs."
        ),
    ] = None
    idleTimeout: Annotated[
        Count | None, Field(description="Another place for the cluster's idleTimeout.")
    ] = None

    disruptionBudget: Annotated[
        SchedulerDisruptionBudget | None,
        Field(description="`{}`: a PodDisruptionBudget lets nobody evict it."),
    ] = None

    rules: ClassVar[tuple[Rule, ...]] = SERVICE_RULES


def _idle_timeouts_agree(spec: ClusterSpec) -> bool:
    timeouts = {spec.idleTimeout, spec.scheduler.idleTimeout} - {None}
    return len(timeouts) <= 1


class ClusterSpec(RuledModel):
    """What a Dask cluster should be."""

    idleTimeout: Annotated[
        Count | None,
        Field(
            description="Delete the cluster when its scheduler has been idle for so many seconds; 0, the "
            "default, means never."
        ),
    ] = None
    suspend: Annotated[
        bool,
        Field(description="Remove all pods, with the results they hold, until this becomes false again."),
    ] = False
    scheduler: Annotated[SchedulerSpec, Field(description="The scheduler and its Service.")]
    worker: Annotated[WorkerSpec, Field(description="The default group of workers.")]
    tls: Annotated[
        TLSSpec | None,
        Field(
            description="Encrypt, and let nobody in who has no certificate. `{}` needs nothing else. Without "
            "it the controller's setting tls decides."
        ),
    ] = None
    networkPolicy: Annotated[
        NetworkPolicySpec | None,
        Field(description="Make a NetworkPolicy that keeps strangers from scheduler and workers."),
    ] = None

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.idleTimeout) || !has(self.scheduler.idleTimeout) || "
            "self.idleTimeout == self.scheduler.idleTimeout",
            message="idleTimeout and scheduler.idleTimeout mean the same but differ: remove one of them",
            holds=_idle_timeouts_agree,
            field="scheduler.idleTimeout",
        ),
    )

    def idle_timeout(self) -> int:
        """Return the seconds after which an idle cluster is deleted; 0 means never."""
        return self.idleTimeout or self.scheduler.idleTimeout or 0


class WorkerGroupSummary(KubernetesModel):
    """One of a cluster's groups of workers."""

    name: Annotated[str, Field(description="Name of the DaskWorkerGroup.")]
    replicas: Annotated[Int32 | None, Field(description="Workers that exist.")] = None
    readyReplicas: Annotated[Int32 | None, Field(description="Workers that are ready.")] = None


class ClusterStatus(Status):
    """What a Dask cluster is."""

    phase: Annotated[
        str | None, Field(description="Created, Pending, Running or Error; conditions tell more.")
    ] = None
    replicas: Annotated[Int32 | None, Field(description="Workers of the default group that exist.")] = None
    readyReplicas: Annotated[
        Int32 | None, Field(description="Workers of the default group that are ready.")
    ] = None
    selector: Annotated[
        str | None, Field(description="Label selector of the default group's workers, for autoscalers.")
    ] = None
    schedulerAddress: Annotated[
        str | None, Field(description="Where Dask clients in the same Kubernetes cluster connect to.")
    ] = None
    dashboardAddress: Annotated[str | None, Field(description="URL of the dashboard.")] = None
    workerGroups: Annotated[
        list[WorkerGroupSummary] | None, ListMap("name"), Field(description="All groups of workers.")
    ] = None
    tls: Annotated[
        TLSStatus | None, Field(description="The certificate of new pods; nothing without TLS.")
    ] = None
    networkPolicyName: Annotated[
        str | None, Field(description="The NetworkPolicy that was made for the cluster.")
    ] = None
    disruptionBudgetName: Annotated[
        str | None, Field(description="The PodDisruptionBudget that was made for the scheduler.")
    ] = None


class DaskCluster(Resource):
    """A Dask cluster: a scheduler with its Service, and workers."""

    resource_names: ClassVar[ResourceNames] = ResourceNames(
        plural="daskclusters",
        singular="daskcluster",
        short=("daskcluster", "dsk"),
        columns=(
            Column(
                "Workers", "integer", ".spec.worker.replicas", "Workers that the default group should have"
            ),
            Column(
                "Ready", "integer", ".status.readyReplicas", "Workers of the default group that are ready"
            ),
            Column("Status", "string", ".status.phase"),
            Column("Scheduler", "string", ".status.schedulerAddress", priority=1),
            Column("Dashboard", "string", ".status.dashboardAddress", priority=1),
            AGE,
        ),
        is_scaled=True,
    )
    rules: ClassVar[tuple[Rule, ...]] = (
        CLUSTER_NAME_RULE,
        cluster_name_rule("spec.scheduler", lambda cluster: cluster.spec.scheduler.service),
    )

    kind: Literal["DaskCluster"] = "DaskCluster"
    spec: Annotated[ClusterSpec, Field(description="What the cluster should be.")]
    status: Annotated[ClusterStatus | None, Field(description="What the cluster is.")] = None
