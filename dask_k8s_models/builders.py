"""Builders: from a few parameters to whole manifests, as plain dicts to index and change.

Every ``make_…`` has a typed twin, ``build_…``, which returns a checked model instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from pydantic import BaseModel

from dask_k8s_models import containers, labels, names, service
from dask_k8s_models.autoscaler import DaskAutoscaler
from dask_k8s_models.cluster import DaskCluster, SchedulerSpec
from dask_k8s_models.containers import Command, Env, Json, Resources
from dask_k8s_models.job import DaskJob
from dask_k8s_models.resource import API_VERSION
from dask_k8s_models.worker import WorkerSpec
from dask_k8s_models.worker_group import DaskWorkerGroup

P = ParamSpec("P")
M = TypeVar("M", bound=BaseModel)


def make_cluster_spec(
    name: str,
    image: str = containers.DEFAULT_IMAGE,
    n_workers: int | None = None,
    resources: Resources | None = None,
    env: Env | None = None,
    worker_command: Command = containers.WORKER_COMMAND,
    scheduler_service_type: str = "ClusterIP",
    idle_timeout: int = 0,
    jupyter: bool = False,
    *,
    tls: bool | Mapping[str, Any] | None = None,
    network_policy: bool | Mapping[str, Any] | None = None,
    scheduler_command: Command = containers.SCHEDULER_COMMAND,
    scheduler_image: str | None = None,
    scheduler_resources: Resources | None = None,
    scheduler_env: Env | None = None,
    worker_image: str | None = None,
    worker_resources: Resources | None = None,
    worker_env: Env | None = None,
    namespace: str | None = None,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Json:
    """Generate a DaskCluster.

    Parameters
    ----------
    name : str
        Name of the cluster: at most 53 lower-case letters, digits and ``-``.
    image : str
        Container image of the scheduler and the workers.
    n_workers : int, optional
        Workers of the default group. Left out, the API server makes it 1.
    resources : mapping, optional
        ``limits`` and ``requests`` of the scheduler and of each worker.
    env : mapping or sequence of mappings, optional
        Environment variables of the scheduler and the workers: values by name, or Kubernetes' list.
    worker_command : str or sequence of str
        The command that starts a worker.
    scheduler_service_type : str
        Type of the scheduler's Service: ClusterIP, NodePort or LoadBalancer.
    idle_timeout : int
        Seconds after which an idle cluster is deleted; 0 means never.
    jupyter : bool
        Whether the scheduler also serves Jupyter.
    tls : bool or mapping, optional
        Whether all parts speak TLS, or the whole ``spec.tls``, such as ``{"secretName": "mine"}``. None
        leaves it to the controller's setting.
    network_policy : bool or mapping, optional
        Whether a NetworkPolicy keeps strangers out, or the whole ``spec.networkPolicy``.
    scheduler_command : str or sequence of str
        The command that starts the scheduler.
    scheduler_image, worker_image : str, optional
        In place of ``image``, for one of the two.
    scheduler_resources, worker_resources : mapping, optional
        In place of ``resources``, for one of the two.
    scheduler_env, worker_env : mapping or sequence of mappings, optional
        In place of ``env``, for one of the two.
    namespace : str, optional
        Namespace of the cluster. Left out, whoever applies the manifest decides.
    labels, annotations : mapping, optional
        Of the cluster; they flow to all that belongs to it.

    Returns
    -------
    dict
        A manifest. It has no ``disruptionBudget``: workers that are evicted together lose nothing, and with a
        budget a drain takes as long as it takes to replace them one after the other. Set ``{}`` in
        ``spec.worker``, or ``spec.scheduler``, for one.

    Raises
    ------
    TypeError, ValueError
        If ``resources`` or ``env`` are of the wrong form.

    Examples
    --------
    >>> spec = make_cluster_spec(name="selector-example", n_workers=2)
    >>> spec["spec"]["worker"]["spec"]["nodeSelector"] = {"disktype": "ssd"}
    """
    worker = make_worker_spec(
        image=worker_image or image,
        n_workers=n_workers,
        resources=_either(worker_resources, resources),
        env=_either(worker_env, env),
        worker_command=worker_command,
    )
    scheduler = make_scheduler_spec(
        cluster_name=name,
        env=_either(scheduler_env, env),
        resources=_either(scheduler_resources, resources),
        image=scheduler_image or image,
        scheduler_service_type=scheduler_service_type,
        jupyter=jupyter,
        scheduler_command=scheduler_command,
    )
    return {
        **_head("DaskCluster", name, namespace, labels, annotations),
        "spec": {
            "idleTimeout": idle_timeout,
            "worker": worker,
            "scheduler": scheduler,
            **_given(tls=tls_spec(tls), networkPolicy=_network_policy(network_policy)),
        },
    }


def tls_spec(tls: bool | Mapping[str, Any] | None) -> Json | None:
    """Return ``spec.tls`` for what users say of it; None if they say nothing.

    Raises
    ------
    TypeError
        If it is neither a bool nor a mapping.
    """
    if tls is None or isinstance(tls, Mapping):
        return None if tls is None else dict(tls)
    if isinstance(tls, bool):
        return {} if tls else {"enabled": False}
    raise TypeError(f"tls must be True, False or a dict such as {{'secretName': 'mine'}}, not {tls!r}")


def _network_policy(policy: bool | Mapping[str, Any] | None) -> Json | None:
    if isinstance(policy, Mapping):
        return dict(policy)
    if policy is None or isinstance(policy, bool):
        return {} if policy else None
    raise TypeError(f"network_policy must be True, False or a dict such as {{'peers': []}}, not {policy!r}")


def make_worker_spec(
    image: str = containers.DEFAULT_IMAGE,
    n_workers: int | None = 3,
    resources: Resources | None = None,
    env: Env | None = None,
    worker_command: Command = containers.WORKER_COMMAND,
    *,
    cluster_name: str | None = None,
) -> Json:
    """Generate the ``worker`` part of a DaskCluster or a DaskWorkerGroup.

    Parameters
    ----------
    image : str
        Container image.
    n_workers : int, optional
        How many workers. None leaves it to the API server, which makes it 1.
    resources : mapping, optional
        ``limits`` and ``requests`` of each worker.
    env : mapping or sequence of mappings, optional
        Environment variables: values by name, or Kubernetes' list.
    worker_command : str or sequence of str
        The command that starts a worker.
    cluster_name : str, optional
        Accepted for those who pass it, without effect: ``add_worker_group`` knows its cluster.

    Returns
    -------
    dict
        ``replicas`` and ``spec``, the pod's.
    """
    replicas = {} if n_workers is None else {"replicas": n_workers}
    container = containers.worker_container(image, worker_command, env, resources)
    return {**replicas, "spec": {"containers": [container]}}


def make_scheduler_spec(
    cluster_name: str,
    env: Env | None = None,
    resources: Resources | None = None,
    image: str = containers.DEFAULT_IMAGE,
    scheduler_service_type: str = "ClusterIP",
    jupyter: bool = False,
    *,
    scheduler_command: Command = containers.SCHEDULER_COMMAND,
) -> Json:
    """Generate the ``scheduler`` part of a DaskCluster.

    Parameters
    ----------
    cluster_name : str
        Name of the cluster, which the Service selects its scheduler by.
    env : mapping or sequence of mappings, optional
        Environment variables: values by name, or Kubernetes' list.
    resources : mapping, optional
        ``limits`` and ``requests``.
    image : str
        Container image.
    scheduler_service_type : str
        Type of the Service: ClusterIP, NodePort or LoadBalancer.
    jupyter : bool
        Whether the scheduler also serves Jupyter.
    scheduler_command : str or sequence of str
        The command that starts the scheduler.

    Returns
    -------
    dict
        ``spec``, the pod's, and ``service``.
    """
    container = containers.scheduler_container(image, scheduler_command, env, resources, jupyter)
    pod = {"containers": [container]}
    return {
        "spec": pod,
        "service": {
            "type": scheduler_service_type,
            "selector": labels.scheduler(cluster_name),
            "ports": service.default_ports(pod),
        },
    }


def make_worker_group_spec(
    cluster_name: str,
    name: str,
    image: str = containers.DEFAULT_IMAGE,
    n_workers: int | None = 3,
    resources: Resources | None = None,
    env: Env | None = None,
    worker_command: Command = containers.WORKER_COMMAND,
    *,
    custom_spec: Json | None = None,
    namespace: str | None = None,
) -> Json:
    """Generate a DaskWorkerGroup.

    Parameters
    ----------
    cluster_name : str
        Name of the cluster that the workers join.
    name : str
        What Python calls the group; the DaskWorkerGroup is called ``{cluster_name}-{name}``.
    image, n_workers, resources, env, worker_command
        As in `make_worker_spec`.
    custom_spec : dict, optional
        What `make_worker_spec` returns, perhaps changed, in place of all these.
    namespace : str, optional
        Namespace of the cluster. Left out, whoever applies the manifest decides.

    Returns
    -------
    dict
        A manifest.
    """
    worker = custom_spec or make_worker_spec(image, n_workers, resources, env, worker_command)
    return {
        **_head("DaskWorkerGroup", names.worker_group(cluster_name, name), namespace),
        "spec": {"cluster": cluster_name, "worker": worker},
    }


def make_job_spec(
    name: str,
    command: Command,
    image: str = containers.DEFAULT_IMAGE,
    n_workers: int | None = None,
    resources: Resources | None = None,
    env: Env | None = None,
    worker_command: Command = containers.WORKER_COMMAND,
    *,
    cluster_name: str | None = None,
    job_image: str | None = None,
    job_resources: Resources | None = None,
    job_env: Env | None = None,
    restart_policy: str | None = None,
    min_ready_workers: int | None = None,
    backoff_limit: int | None = None,
    active_deadline_seconds: int | None = None,
    ttl_seconds_after_finished: int | None = None,
    suspend: bool | None = None,
    cleanup_policy: str | None = None,
    namespace: str | None = None,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    **cluster_options: Any,
) -> Json:
    """Generate a DaskJob.

    Parameters
    ----------
    name : str
        Name of the job and of the cluster that is made for it.
    command : str or sequence of str
        What the job runs, e.g. ``["python", "train.py"]``. ``Client()`` in it connects to the cluster.
    image, n_workers, resources, env, worker_command
        Of the cluster, as in `make_cluster_spec`; image and env are also those of the job's pod.
    cluster_name : str, optional
        Name of a cluster that exists and is used in place of one made for the job.
    job_image : str, optional
        Image of the job's pod, in place of ``image``.
    job_resources : mapping, optional
        ``limits`` and ``requests`` of the job's pod.
    job_env : mapping or sequence of mappings, optional
        Environment variables of the job's pod, in place of ``env``.
    restart_policy : str, optional
        Of the job's pod: OnFailure, the default, restarts its container in place; with Never another pod
        follows, if ``backoff_limit`` allows.
    min_ready_workers : int, optional
        Start the job's pod when so many workers are ready.
    backoff_limit : int, optional
        How many failures, of pods or of containers that are restarted in place, the job survives. Left out,
        the job is restarted until it succeeds, or never with ``restart_policy="Never"``.
    active_deadline_seconds : int, optional
        The job has failed when it takes longer.
    ttl_seconds_after_finished : int, optional
        Delete the job so many seconds after its end.
    suspend : bool, optional
        Make nothing until this becomes false.
    cleanup_policy : str, optional
        When the cluster is deleted: Always, OnSuccess or Never.
    namespace, labels, annotations
        Of the DaskJob.
    **cluster_options
        Anything else that `make_cluster_spec` takes, e.g. ``scheduler_resources``.

    Returns
    -------
    dict
        A manifest.
    """
    container = containers.job_container(
        job_image or image, command, env if job_env is None else job_env, job_resources
    )
    pod = _given(restartPolicy=restart_policy) | {"containers": [container]}
    options = _given(
        minReadyWorkers=min_ready_workers,
        backoffLimit=backoff_limit,
        activeDeadlineSeconds=active_deadline_seconds,
        ttlSecondsAfterFinished=ttl_seconds_after_finished,
        suspend=suspend,
        cleanupPolicy=cleanup_policy,
    )
    if cluster_name is None:
        made_for_it = make_cluster_spec(
            name, image, n_workers, resources, env, worker_command, **cluster_options
        )
        cluster: Json = {"cluster": {"spec": made_for_it["spec"]}}
    else:
        cluster = {"clusterRef": {"name": cluster_name}}
    return {
        **_head("DaskJob", name, namespace, labels, annotations),
        "spec": {**options, "job": {"spec": pod}, **cluster},
    }


def make_autoscaler_spec(
    cluster_name: str,
    minimum: int | None = None,
    maximum: int | None = None,
    *,
    worker_group: str | None = None,
    name: str | None = None,
    behavior: Mapping[str, Any] | None = None,
    namespace: str | None = None,
) -> Json:
    """Generate a DaskAutoscaler.

    Parameters
    ----------
    cluster_name : str
        Name of the cluster to scale.
    minimum : int, optional
        There are never fewer workers. None means 0.
    maximum : int, optional
        There are never more workers. None means no bound.
    worker_group : str, optional
        What Python calls the group to scale, e.g. ``highmem``; the default group if left out.
    name : str, optional
        Name of the autoscaler. That of the cluster if left out, with the group's name behind it unless it
        is the default group.
    behavior : mapping, optional
        ``scaleUp`` and ``scaleDown``, each with ``stabilizationWindowSeconds`` and ``maxPercent``.
    namespace : str, optional
        Namespace of the cluster. Left out, whoever applies the manifest decides.

    Returns
    -------
    dict
        A manifest.
    """
    group = None if worker_group is None else names.worker_group(cluster_name, worker_group)
    called = name or names.autoscaler(cluster_name, worker_group or names.DEFAULT_GROUP)
    options = _given(maximum=maximum, workerGroup=group, behavior=behavior and dict(behavior))
    return {
        **_head("DaskAutoscaler", called, namespace),
        "spec": {"cluster": cluster_name, "minimum": minimum or 0, **options},
    }


def _head(
    kind: str,
    name: str,
    namespace: str | None = None,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Json:
    metadata = {"name": name} | _given(
        namespace=namespace, labels=labels and dict(labels), annotations=annotations and dict(annotations)
    )
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata}


def _given(**fields: Any) -> Json:
    """Leave out what isn't given."""
    return {name: value for name, value in fields.items() if value is not None}


def _either(particular: Any, common: Any) -> Any:
    return common if particular is None else particular


def _typed(make: Callable[P, Json], model: type[M]) -> Callable[P, M]:
    def build(*args: P.args, **kwargs: P.kwargs) -> M:
        return model.model_validate(make(*args, **kwargs))

    build.__name__ = make.__name__.replace("make_", "build_")
    build.__doc__ = f"As `{make.__name__}`, but return a checked {model.__name__}."
    return build


build_cluster_spec = _typed(make_cluster_spec, DaskCluster)
build_worker_spec = _typed(make_worker_spec, WorkerSpec)
build_scheduler_spec = _typed(make_scheduler_spec, SchedulerSpec)
build_worker_group_spec = _typed(make_worker_group_spec, DaskWorkerGroup)
build_job_spec = _typed(make_job_spec, DaskJob)
build_autoscaler_spec = _typed(make_autoscaler_spec, DaskAutoscaler)
