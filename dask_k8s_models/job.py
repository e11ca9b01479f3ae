"""DaskJob: a pod that runs to its end beside a cluster that is there for it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from dask_k8s_models._kubernetes import PodSpec, ServiceSpec
from dask_k8s_models.base import KubernetesModel, RuledModel
from dask_k8s_models.cluster import ClusterSpec
from dask_k8s_models.markers import Rule
from dask_k8s_models.resource import (
    AGE,
    CLUSTER_NAME_RULE,
    ClusterName,
    Column,
    Metadata,
    Resource,
    ResourceNames,
    Status,
)
from dask_k8s_models.scalars import Count, Int32, Positive, Time
from dask_k8s_models.service import cluster_name_rule


class JobStatusWord(StrEnum):
    """Words of ``status.jobStatus``."""

    JOB_CREATED = "JobCreated"
    CLUSTER_CREATED = "ClusterCreated"
    RUNNING = "Running"
    SUCCESSFUL = "Successful"
    FAILED = "Failed"


class JobTemplate(RuledModel):
    """The pod that does the job."""

    metadata: Annotated[Metadata | None, Field(description="Labels and annotations of the job's pod.")] = None
    spec: Annotated[
        PodSpec,
        Field(
            description="The job's pod. Client() in it connects to the cluster. Its restartPolicy is "
            "OnFailure unless set, or Never if backoffLimit is 0."
        ),
    ]


class ClusterTemplate(RuledModel):
    """The cluster that is made for a job, called as the job."""

    metadata: Annotated[Metadata | None, Field(description="Labels and annotations of the DaskCluster.")] = (
        None
    )
    spec: Annotated[ClusterSpec, Field(description="The spec of the DaskCluster.")]


class ClusterReference(KubernetesModel):
    """A cluster that exists already."""

    name: Annotated[ClusterName, Field(description="Name of a DaskCluster in the same namespace.")]


class JobSpec(RuledModel):
    """What a job should do."""

    job: Annotated[JobTemplate, Field(description="The pod that does the job.")]
    cluster: Annotated[
        ClusterTemplate | None,
        Field(description="The cluster to make for the job. Either this or clusterRef."),
    ] = None
    clusterRef: Annotated[
        ClusterReference | None,
        Field(description="The cluster to use, which outlives the job. Either this or cluster."),
    ] = None
    minReadyWorkers: Annotated[
        Count | None,
        Field(
            description="Start the job's pod when so many workers are ready; without it, as soon as the "
            "scheduler answers."
        ),
    ] = None
    backoffLimit: Annotated[
        Count | None,
        Field(
            description="How many failures the job survives: failed pods, and restarts of its container in "
            "place, count. Without it, a job whose pod restarts OnFailure is restarted until it succeeds, "
            "and one whose pod restarts Never fails with its first pod."
        ),
    ] = None
    activeDeadlineSeconds: Annotated[
        Positive | None,
        Field(
            description="The job has failed when it takes longer than so many seconds, all attempts "
            "together. They start anew when a suspended job is resumed."
        ),
    ] = None
    ttlSecondsAfterFinished: Annotated[
        Count | None,
        Field(description="Delete the DaskJob so many seconds after its end; without it, never."),
    ] = None
    suspend: Annotated[
        bool,
        Field(description="Make neither cluster nor pod, or remove them, until this becomes false."),
    ] = False
    cleanupPolicy: Annotated[
        Literal["Always", "OnSuccess", "Never"],
        Field(description="When the end of the job deletes the cluster that was made for it."),
    ] = "Always"

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="has(self.cluster) != has(self.clusterRef)",
            message="exactly one of cluster and clusterRef is needed: cluster makes a DaskCluster for the "
            "job, clusterRef uses one that exists",
            holds=lambda spec: (spec.cluster is None) != (spec.clusterRef is None),
            field="cluster",
        ),
    )


class JobStatus(Status):
    """What became of a job."""

    jobStatus: Annotated[
        str | None,
        Field(description="JobCreated, ClusterCreated, Running, Successful or Failed; conditions tell more."),
    ] = None
    clusterName: Annotated[str | None, Field(description="Name of the job's DaskCluster.")] = None
    jobRunnerPodName: Annotated[str | None, Field(description="Name of the latest attempt's pod.")] = None
    startTime: Annotated[Time | None, Field(description="When the job's pod was first started.")] = None
    endTime: Annotated[Time | None, Field(description="When the job ended.")] = None
    attempts: Annotated[Int32 | None, Field(description="How many pods were started.")] = None


def _service(job: DaskJob) -> ServiceSpec | None:
    return job.spec.cluster.spec.scheduler.service if job.spec.cluster else None


class DaskJob(Resource):
    """A pod that runs to its end beside a Dask cluster."""

    resource_names: ClassVar[ResourceNames] = ResourceNames(
        plural="daskjobs",
        singular="daskjob",
        short=("djb",),
        columns=(
            Column("Status", "string", ".status.jobStatus"),
            Column(
                "Workers", "integer", ".spec.cluster.spec.worker.replicas", "Workers of the job's cluster"
            ),
            Column("Attempts", "integer", ".status.attempts", priority=1),
            Column("Cluster", "string", ".status.clusterName", priority=1),
            AGE,
        ),
    )
    rules: ClassVar[tuple[Rule, ...]] = (
        CLUSTER_NAME_RULE,
        cluster_name_rule("spec.cluster.spec.scheduler", _service, optional="spec.cluster"),
    )

    kind: Literal["DaskJob"] = "DaskJob"
    spec: Annotated[JobSpec, Field(description="What the job should do.")]
    status: Annotated[JobStatus | None, Field(description="What became of the job.")] = None
