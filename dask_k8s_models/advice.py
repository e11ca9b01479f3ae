"""What is allowed but will hurt: warnings about objects that are valid."""

from __future__ import annotations

from collections.abc import Iterator

from dask_k8s_models import labels, names
from dask_k8s_models._kubernetes import Container, PodSpec, ServicePort
from dask_k8s_models.cluster import ClusterSpec, DaskCluster, SchedulerSpec
from dask_k8s_models.job import DaskJob
from dask_k8s_models.problems import Path
from dask_k8s_models.resource import Metadata, Resource
from dask_k8s_models.worker import WorkerSpec
from dask_k8s_models.worker_group import DaskWorkerGroup

Advice = Iterator[tuple[Path, str]]

RETIRED_COMMANDS = {
    "dask-worker": "dask worker",
    "dask-scheduler": "dask scheduler",
    "dask-ssh": "dask ssh",
}
"""Commands that current images of Dask no longer have, and what replaced them in 2022.10."""


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
    yield from _about_pod(job.spec.job.spec, ("spec", "job", "spec"))
    yield from _about_metadata(job.spec.job.metadata, ("spec", "job", "metadata"))
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
    yield from _about_pod(worker.spec, (*path, "spec"))
    yield from _about_metadata(worker.metadata, (*path, "metadata"))
    if worker.spec.restartPolicy == "Always":
        yield (
            (*path, "spec", "restartPolicy"),
            "Always revives workers that were retired: leave it out to get OnFailure",
        )


def _about_scheduler(scheduler: SchedulerSpec, path: Path) -> Advice:
    yield from _about_pod(scheduler.spec, (*path, "spec"))
    yield from _about_metadata(scheduler.metadata, (*path, "metadata"))
    service = scheduler.service
    if service is None:
        return
    if service.type == "ExternalName":
        yield (*path, "service", "type"), "an ExternalName Service doesn't lead to the scheduler"
    if service.ports:
        yield from _about_ports(service.ports, scheduler.spec, (*path, "service", "ports"))


def _about_ports(ports: list[ServicePort], pod: PodSpec, path: Path) -> Advice:
    by_name = {port.name for port in ports}
    by_number = {port.port for port in ports}
    if len(ports) > 1 and "tcp-comm" not in by_name and names.SCHEDULER_PORT not in by_number:
        yield (
            path,
            f"no port is called tcp-comm or is {names.SCHEDULER_PORT}: workers won't find the scheduler",
        )
    if "http-dashboard" not in by_name and names.DASHBOARD_PORT not in by_number:
        yield (
            path,
            f"no port is called http-dashboard or is {names.DASHBOARD_PORT}: the dashboard can't be reached, "
            "and workers can't be retired, through the Service",
        )
    known = {port.name for container in pod.containers for port in container.ports or []}
    for index, port in enumerate(ports):
        if isinstance(port.targetPort, str) and port.targetPort not in known:
            yield (
                (*path, index, "targetPort"),
                f"no container of the scheduler's pod has a port called {port.targetPort}",
            )


def _about_pod(pod: PodSpec, path: Path) -> Advice:
    for index, container in enumerate(pod.containers):
        yield from _about_container(container, (*path, "containers", index))


def _about_container(container: Container, path: Path) -> Advice:
    if not container.image:
        yield (*path, "image"), "is missing: no pod can be made"
    for field, words in (("command", container.command), ("args", container.args)):
        if words and (replacement := RETIRED_COMMANDS.get(words[0].rpartition("/")[2])):
            yield (
                (*path, field, 0),
                f"current images of Dask have no {words[0]}: write {replacement}, as two words",
            )


def _about_metadata(metadata: Metadata | None, path: Path) -> Advice:
    for key in labels.RESERVED_LABELS & set((metadata and metadata.labels) or {}):
        yield (*path, "labels", key), "has no effect: the controller sets this label"
