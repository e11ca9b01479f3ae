"""The objects that are made for a DaskJob, each a pure function of the job."""

from __future__ import annotations

import copy

from dask_k8s_controller.cache.objects import Pod
from dask_k8s_controller.cluster.children import scheduler_address
from dask_k8s_controller.cluster.spec import Cluster
from dask_k8s_controller.cluster.tls import of_pod, secured
from dask_k8s_controller.job.observe import FAILURES, SCHEDULER, instance_of
from dask_k8s_controller.job.spec import Job
from dask_k8s_controller.plans.actions import Object
from dask_k8s_controller.plans.metadata import inherited, with_env
from dask_k8s_controller.plans.ownership import child
from dask_k8s_models import labels, names
from dask_k8s_models.resource import API_VERSION


def job_cluster(job: Job) -> Object:
    """The cluster that a job has for itself."""
    spec = copy.deepcopy(job.raw_spec["cluster"]["spec"])
    return child(job, API_VERSION, "DaskCluster", job.cluster, job_cluster_metadata(job), spec=spec)


def job_cluster_metadata(job: Job) -> Object:
    """The labels and annotations of a job's own cluster that follow the job's."""
    return inherited(job, job.raw_spec["cluster"], {labels.CLUSTER_NAME: job.cluster})


def runner_pod(job: Job, attempt: int, cluster: Cluster, scheduler: Pod, failures: int) -> Object:
    """The pod of an attempt that works with a cluster's present scheduler, after that many failures."""
    spec = copy.deepcopy(job.raw_spec["job"]["spec"])
    spec.setdefault("restartPolicy", job.restart_policy)
    spec.setdefault("enableServiceLinks", False)
    tls = of_pod(scheduler)
    address = scheduler_address(cluster, tls)
    # The last lines of its log are what people want to read first when it fails.
    last_words = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    spec["containers"] = [
        {**last_words, **with_env(container, {"DASK_SCHEDULER_ADDRESS": address})}
        for container in spec["containers"]
    ]
    spec = secured(spec, tls)
    metadata = runner_metadata(job)
    metadata["annotations"] |= {SCHEDULER: instance_of(scheduler), FAILURES: str(failures)}
    return child(job, "v1", "Pod", names.runner(job.name, attempt), metadata, spec=spec)


def runner_metadata(job: Job) -> Object:
    """The labels and annotations of a job's pod that follow the job's."""
    return inherited(job, job.raw_spec["job"], labels.job_runner(job.cluster), is_pod=True)
