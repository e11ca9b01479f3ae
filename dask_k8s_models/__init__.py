"""What a DaskCluster, DaskWorkerGroup, DaskJob and DaskAutoscaler is: the single source of truth."""

from dask_k8s_models import labels, names
from dask_k8s_models._kubernetes import ObjectMeta, PodSpec, ServiceSpec
from dask_k8s_models.autoscaler import AutoscalerSpec, AutoscalerStatus, DaskAutoscaler
from dask_k8s_models.builders import (
    build_autoscaler_spec,
    build_cluster_spec,
    build_job_spec,
    build_scheduler_spec,
    build_worker_group_spec,
    build_worker_spec,
    make_autoscaler_spec,
    make_cluster_spec,
    make_job_spec,
    make_scheduler_spec,
    make_worker_group_spec,
    make_worker_spec,
    tls_spec,
)
from dask_k8s_models.cluster import (
    ClusterPhase,
    ClusterSpec,
    ClusterStatus,
    DaskCluster,
    SchedulerSpec,
    WorkerGroupSummary,
)
from dask_k8s_models.containers import checked_resources, env_list
from dask_k8s_models.definitions import custom_resource_definitions
from dask_k8s_models.job import DaskJob, JobSpec, JobStatus, JobStatusWord
from dask_k8s_models.kinds import KINDS
from dask_k8s_models.manifests import ManifestError, parse_manifest
from dask_k8s_models.problems import field_name, problems_of
from dask_k8s_models.resource import API_VERSION, GROUP, VERSION, Condition, Metadata, Resource
from dask_k8s_models.security import NetworkPolicySpec, TLSSpec, TLSStatus
from dask_k8s_models.validate import Problem, Severity, validate_documents
from dask_k8s_models.worker import WorkerSpec
from dask_k8s_models.worker_group import DaskWorkerGroup, WorkerGroupSpec, WorkerGroupStatus
from dask_k8s_models.yaml_dialect import to_yaml

__all__ = [
    "API_VERSION",
    "GROUP",
    "KINDS",
    "VERSION",
    "AutoscalerSpec",
    "AutoscalerStatus",
    "ClusterPhase",
    "ClusterSpec",
    "ClusterStatus",
    "Condition",
    "DaskAutoscaler",
    "DaskCluster",
    "DaskJob",
    "DaskWorkerGroup",
    "JobSpec",
    "JobStatus",
    "JobStatusWord",
    "ManifestError",
    "Metadata",
    "NetworkPolicySpec",
    "ObjectMeta",
    "PodSpec",
    "Problem",
    "Resource",
    "SchedulerSpec",
    "ServiceSpec",
    "Severity",
    "TLSSpec",
    "TLSStatus",
    "WorkerGroupSpec",
    "WorkerGroupStatus",
    "WorkerGroupSummary",
    "WorkerSpec",
    "build_autoscaler_spec",
    "build_cluster_spec",
    "build_job_spec",
    "build_scheduler_spec",
    "build_worker_group_spec",
    "build_worker_spec",
    "checked_resources",
    "custom_resource_definitions",
    "env_list",
    "field_name",
    "labels",
    "make_autoscaler_spec",
    "make_cluster_spec",
    "make_job_spec",
    "make_scheduler_spec",
    "make_worker_group_spec",
    "make_worker_spec",
    "names",
    "parse_manifest",
    "problems_of",
    "tls_spec",
    "to_yaml",
    "validate_documents",
]
