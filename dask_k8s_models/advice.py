"""What is allowed but will hurt: warnings about objects that are valid."""

from __future__ import annotations

from collections.abc import Iterator

from dask_k8s_models import labels, names
from dask_k8s_models._kubernetes import Container, PodSpec, ServiceSpec
from dask_k8s_models.cluster import ClusterSpec, DaskCluster, SchedulerSpec
from dask_k8s_models.commands import remedy
from dask_k8s_models.job import DaskJob, JobTemplate
from dask_k8s_models.problems import Path
from dask_k8s_models.resource import Metadata, Resource
from dask_k8s_models.service import comm_port, dashboard_port, target_port
from dask_k8s_models.worker import WorkerSpec
from dask_k8s_models.worker_group import DaskWorkerGroup

Advice = Iterator[tuple[Path, str]]


def advice_on(resource: Resource) -> Advice:
    """Yield the path and the text of each warning about an object.

    Parameters
    ----------
    resource : Resource
        A valid object.
    """
    match resource:
        case DaskCluster():
            yield from _about_cluster(resource.spec, ("spec",))
        case DaskWorkerGroup():
            yield from _about_worker(resource.spec.worker, ("spec", "worker"))
        case DaskJob():
            yield from _about_job(resource)


def _about_job(job: DaskJob) -> Advice:
    yield from _about_pod(job.spec.job, ("spec", "job"))
    if job.spec.cluster is None:
        return
    yield from _about_cluster(job.spec.cluster.spec, ("spec", "cluster", "spec"))
    replicas = job.spec.cluster.spec.worker.replicas
    if (job.spec.minReadyWorkers or 0) > replicas:
        yield (
            ("spec", "minReadyWorkers"),
            f"the job never starts unless its cluster of {replicas} workers is scaled",
        )


def _about_cluster(cluster: ClusterSpec, path: Path) -> Advice:
    yield from _about_scheduler(cluster.scheduler, (*path, "scheduler"))
    yield from _about_worker(cluster.worker, (*path, "worker"))


def _about_worker(worker: WorkerSpec, path: Path) -> Advice:
    yield from _about_pod(worker, path)
    if worker.spec.restartPolicy == "Always":
        yield (
            (*path, "spec", "restartPolicy"),
            "Always revives workers that were retired: leave it out to get OnFailure",
        )


def _about_scheduler(scheduler: SchedulerSpec, path: Path) -> Advice:
    yield from _about_pod(scheduler, path)
    service = scheduler.service
    if service is None:
        return
    if service.ports:
        yield from _about_ports(service, scheduler.spec, (*path, "service", "ports"))


def _about_ports(service: ServiceSpec, pod: PodSpec, path: Path) -> Advice:
    spec, pod_spec = service.model_dump(exclude_none=True), pod.model_dump(exclude_none=True)
    if comm_port(spec) is None:
        yield (
            path,
            f"no port is called tcp-comm or is {names.SCHEDULER_PORT}: workers won't find the scheduler",
        )
    if dashboard_port(spec) is None:
        yield (
            path,
            f"no port is called http-dashboard or is {names.DASHBOARD_PORT}: the dashboard can't be reached, "
            "and workers can't be retired, through the Service",
        )
    for index, port in enumerate(spec["ports"]):
        if target_port(port, pod_spec) is None:
            yield (
                (*path, index, "targetPort"),
                f"no container of the scheduler's pod has a port called {port['targetPort']}",
            )


def _about_pod(template: SchedulerSpec | WorkerSpec | JobTemplate, path: Path) -> Advice:
    containers = template.spec.containers
    for index, container in enumerate(containers):
        yield from _about_container(container, (*path, "spec", "containers", index))
    metadata = template.metadata or Metadata()
    for key in labels.RESERVED_LABELS & set(metadata.labels or {}):
        yield (*path, "metadata", "labels", key), "has no effect: the controller sets this label"
    chosen = (metadata.annotations or {}).get(labels.DEFAULT_CONTAINER)
    if chosen is not None and chosen not in {container.name for container in containers}:
        yield (
            (*path, "metadata", "annotations", labels.DEFAULT_CONTAINER),
            f"no container is called {chosen}",
        )


def _about_container(container: Container, path: Path) -> Advice:
    if not container.image:
        yield (*path, "image"), "is missing: no pod can be made"
    for field, words in (("command", container.command), ("args", container.args)):
        if text := remedy((words or ())[:1]):
            yield (*path, field, 0), text
