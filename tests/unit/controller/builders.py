"""Objects as the API server shows them, in as few words as a test needs."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from dask_k8s_controller.cache.objects import Pod, Service
from dask_k8s_controller.cluster import children
from dask_k8s_controller.cluster.observe import ObservedCluster
from dask_k8s_controller.cluster.spec import Cluster
from dask_k8s_controller.scheduler.answers import Answer, Worker
from dask_k8s_controller.worker_group.children import worker_pod_metadata
from dask_k8s_controller.worker_group.observe import ObservedGroup
from dask_k8s_controller.worker_group.spec import WorkerGroup
from dask_k8s_models import labels
from tests.harness.clocks import NOW

Object = dict[str, Any]

_numbers = itertools.count(1)


def time(seconds_from_now: float = 0) -> str:
    return (NOW + timedelta(seconds=seconds_from_now)).isoformat()


def metadata(name: str, uid: str = "", **more: Any) -> Object:
    number = next(_numbers)
    return {
        "name": name,
        "namespace": "default",
        "uid": uid or f"uid-{number}",
        "resourceVersion": str(number),
        "generation": 1,
        "creationTimestamp": time(-3600),
        **more,
    }


def pod_spec(container: str, *args: str, **more: Any) -> Object:
    return {"containers": [{"name": container, "image": "dask", "args": list(args)}], **more}


def cluster_body(name: str = "c", uid: str = "cluster", **spec: Any) -> Object:
    worker = {"replicas": 2, "spec": pod_spec("worker", "dask", "worker"), **spec.pop("worker", {})}
    scheduler = {"spec": pod_spec("scheduler", "dask", "scheduler"), **spec.pop("scheduler", {})}
    more = spec.pop("metadata", {})
    status = spec.pop("status", {"phase": "Running"})
    return {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskCluster",
        "metadata": metadata(name, uid, **more),
        "spec": {"worker": worker, "scheduler": scheduler, **spec},
        "status": status,
    }


def cluster(name: str = "c", uid: str = "cluster", **spec: Any) -> Cluster:
    return Cluster.of(cluster_body(name, uid, **spec))


def group_body(
    name: str = "c-default", uid: str = "group", *, of: str = "c", owner: str = "cluster", **worker: Any
) -> Object:
    more = worker.pop("metadata", {})
    status = worker.pop("status", {})
    if owner:
        reference = {"kind": "DaskCluster", "name": of, "uid": owner, "controller": True}
        more = {"ownerReferences": [reference], **more}
    worker = {"replicas": 2, "spec": pod_spec("worker", "dask", "worker"), **worker}
    return {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskWorkerGroup",
        "metadata": metadata(name, uid, **more),
        "spec": {"cluster": of, "worker": worker},
        "status": status,
    }


def group(name: str = "c-default", uid: str = "group", **worker: Any) -> WorkerGroup:
    return WorkerGroup.of(group_body(name, uid, **worker))


def default_group(of: Cluster, uid: str = "group", **changes: Any) -> WorkerGroup:
    """The default group that the controller has made for a cluster, and what happened to it since."""
    body = children.default_group(of)
    body["metadata"] = metadata(**{**body["metadata"], "uid": uid}) | {"labels": body["metadata"]["labels"]}
    body["status"] = changes.pop("status", {})
    body["metadata"]["annotations"] |= changes.pop("annotations", {})
    body["metadata"] |= changes.pop("metadata", {})
    body["spec"]["worker"] |= changes
    return WorkerGroup.of(body)


def job_body(**spec: Any) -> Object:
    """A DaskJob that makes a cluster for itself, unless it has a clusterRef."""
    pod = {**pod_spec("job", "python", "train.py"), **spec.pop("pod", {})}
    more = spec.pop("metadata", {})
    if "clusterRef" not in spec:
        spec = {"cluster": {"spec": cluster_body()["spec"]}, **spec}
    spec = {"job": {"spec": pod}, **spec}
    return {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskJob",
        "metadata": metadata("j", "job", creationTimestamp=time(), **more),
        "spec": spec,
    }


def job_body_of(cluster: str, name: str, **spec: Any) -> Object:
    """A job that uses a cluster which outlives it."""
    return {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskJob",
        "metadata": metadata(name, f"job-{name}"),
        "spec": {"clusterRef": {"name": cluster}, "job": {"spec": pod_spec("job")}, **spec},
        "status": {"jobStatus": "JobCreated"},
    }


def pod_body(
    name: str,
    *,
    component: str = "worker",
    group: str = "c-default",
    of: str = "c",
    owner: tuple[str, str] | None = None,
    phase: str = "Running",
    ready: bool | None = None,
    age: float = 600,
    going: bool = False,
    retiring: float | None = None,
    template: str = "",
    ip: str = "",
    annotations: Mapping[str, str] | None = None,
    status: Mapping[str, Any] | None = None,
    **spec: Any,
) -> Object:
    is_worker = component == "worker"
    owner = owner or (("DaskWorkerGroup", "group") if is_worker else ("DaskCluster", "cluster"))
    on_pod = {labels.TEMPLATE_HASH: template, **(annotations or {})}
    if retiring is not None:
        on_pod[labels.RETIRING] = time(-retiring)
    meta = metadata(
        name,
        uid=name,
        creationTimestamp=time(-age),
        labels={
            labels.CLUSTER_NAME: of,
            labels.COMPONENT: component,
            **({labels.WORKER_GROUP_NAME: group} if is_worker else {}),
        },
        annotations=on_pod,
        ownerReferences=[
            {"kind": owner[0], "name": group if is_worker else of, "uid": owner[1], "controller": True}
        ],
        **({"deletionTimestamp": time()} if going else {}),
    )
    is_ready = phase == "Running" if ready is None else ready
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta,
        "spec": spec,
        "status": {
            "phase": phase,
            "podIP": ip,
            "conditions": [{"type": "Ready", "status": str(is_ready)}],
            **(status or {}),
        },
    }


def worker_pod(name: str, **more: Any) -> Pod:
    template = more.pop("template", group().worker_hash)
    return _current(Pod.of(pod_body(name, template=template, **more)), worker_pod_metadata(group()))


def scheduler_pod(name: str = "c-scheduler", **more: Any) -> Pod:
    template = more.pop("template", cluster().scheduler_hash)
    pod = Pod.of(pod_body(name, component="scheduler", template=template, **more))
    return _current(pod, children.scheduler_pod_metadata(cluster()))


def _current(pod: Pod, metadata: Object) -> Pod:
    """Give a pod the labels and annotations that the controller gave it."""
    from dataclasses import replace

    meta = replace(
        pod.meta,
        labels={**metadata["labels"], **pod.meta.labels},
        annotations={**metadata["annotations"], **pod.meta.annotations},
    )
    return replace(pod, meta=meta)


def service(of: Cluster | None = None, **more: Any) -> Service:
    """The Service that the controller has made for a cluster."""
    body = children.scheduler_service(of or cluster())
    extra = more.pop("metadata", {})
    body["metadata"] = metadata(**{**body["metadata"], "uid": "service"}) | {
        "labels": body["metadata"]["labels"],
        "annotations": body["metadata"]["annotations"],
        **extra,
    }
    body["spec"] = {**body["spec"], "clusterIP": "10.0.0.1"}
    return Service.of(body | more)


def worker(address: str, **more: Any) -> Worker:
    """A worker that the scheduler knows, at ``host:port``; it runs and holds nothing."""
    more = {"executing": 0, "keys": 0, "nbytes": 0, **more}
    return Worker(f"tcp://{address}", address.rpartition(":")[0], **more)


def answer(*workers: Worker, age: float = 0) -> Answer[tuple[Worker, ...]]:
    return Answer(-age, workers)


def all_know(*pods: Pod) -> Answer[tuple[Worker, ...]]:
    """The scheduler knows a worker of each of these pods."""
    return answer(*(worker(f"10.7.0.{number}:1", name=pod.name) for number, pod in enumerate(pods)))


def observed_group(of: WorkerGroup | None = None, *pods: Pod, **more: Any) -> ObservedGroup:
    """A group of a running cluster with a ready scheduler."""
    more = {"cluster": cluster(), "scheduler": scheduler_pod(), "entropy": "test", **more}
    return ObservedGroup(subject=of or group(), now=NOW, pods=pods, **more)


def observed_cluster(of: Cluster | None = None, **more: Any) -> ObservedCluster:
    """A cluster that is as it should be."""
    of = of or cluster()
    more = {
        "pods": (scheduler_pod(template=of.scheduler_hash),),
        "service": service(of),
        "groups": (default_group(of),),
        "entropy": "test",
        **more,
    }
    return ObservedCluster(subject=of, now=NOW, **more)
