"""Create a cluster, or find the one that exists."""

from __future__ import annotations

import asyncio
import copy
from typing import TYPE_CHECKING, Any

import pydantic

from dask_k8s_client import raw
from dask_k8s_client.config import ClusterOptions, CreateMode
from dask_k8s_client.errors import (
    INSTALL,
    AlreadyExistsError,
    ClusterExistsError,
    ClusterNotFoundError,
    ForbiddenError,
    InvalidError,
    KubeClusterError,
    MissingCRDsError,
    NotFoundError,
    ResourceTimeoutError,
    ValidationError,
    with_remedy,
)
from dask_k8s_client.resources import CLUSTERS
from dask_k8s_client.watch import Informer
from dask_k8s_models import make_cluster_spec
from dask_k8s_models.manifests import ManifestError, model_of
from dask_k8s_models.problems import field_name, problems_of

if TYPE_CHECKING:
    from dask_k8s_client.api import Api

Json = dict[str, Any]


def manifest(options: ClusterOptions) -> Json:
    """Return the DaskCluster that the options describe.

    Raises
    ------
    ValidationError
        Kubernetes would refuse it.
    """
    body = copy.deepcopy(options.custom_cluster_spec) if options.custom_cluster_spec else _built(options)
    check(body)
    body["metadata"].pop("namespace", None)
    return body


def _built(options: ClusterOptions) -> Json:
    made: Json = make_cluster_spec(
        name=options.name,
        image=options.image,
        n_workers=options.n_workers,
        resources=options.resources or None,
        env=options.env or None,
        worker_command=options.worker_command,
        scheduler_service_type=options.scheduler_service_type,
        idle_timeout=options.idle_timeout,
        jupyter=options.jupyter,
        tls=options.tls,
    )
    return made


def check(body: Json) -> None:
    """Refuse a manifest before it is sent.

    Raises
    ------
    ValidationError
        With each field and what is wrong with it.
    """
    try:
        model_of(body).model_validate(body)
    except ManifestError as error:
        raise ValidationError(f"The manifest is invalid: {error.message}.") from error
    except pydantic.ValidationError as error:
        lines = [f"  {field_name(path)}: {message}" for path, message in problems_of(error, body["kind"])]
        name = f"{body['kind']} {body['metadata'].get('name')}"
        raise ValidationError("\n".join([f"The {name} is invalid:", *lines])) from error


async def create_or_connect(
    api: Api, namespace: str, options: ClusterOptions, body: Json | None = None
) -> tuple[Json, bool]:
    """Do what the create mode says.

    Parameters
    ----------
    api : Api
        Connected to the API server; the caller closes it.
    namespace : str
        The namespace that the cluster is in.
    options : ClusterOptions
        What is wanted.
    body : dict, optional
        Their `manifest`, if it is there already.

    Returns
    -------
    cluster : dict
        The DaskCluster.
    is_created : bool
        Whether it is ours.

    Raises
    ------
    ClusterExistsError, ClusterNotFoundError
        The create mode doesn't allow what is.
    MissingCRDsError, ForbiddenError, ValidationError
        The API server's reasons, with the remedy.
    """
    try:
        if options.create_mode is CreateMode.CONNECT_ONLY:
            return await _find(api, namespace, options.name), False
        return await _create(api, namespace, options, manifest(options) if body is None else body)
    except (NotFoundError, ForbiddenError, InvalidError) as error:
        raise explained(error, namespace) from error


async def _create(api: Api, namespace: str, options: ClusterOptions, body: Json) -> tuple[Json, bool]:
    while True:
        try:
            return await raw.create(api, CLUSTERS.path(namespace), body), True
        except AlreadyExistsError:
            existing = await _get(api, namespace, options.name)
        if existing is None:
            continue
        if existing["metadata"].get("deletionTimestamp"):
            await _until_gone(api, namespace, existing, options.resource_timeout)
            continue
        if options.create_mode is CreateMode.CREATE_ONLY:
            raise ClusterExistsError(
                f"Cluster {options.name} already exists and create mode is '{CreateMode.CREATE_ONLY.value}'"
            )
        return existing, False


async def _find(api: Api, namespace: str, name: str) -> Json:
    existing = await _get(api, namespace, name)
    if existing is None or existing["metadata"].get("deletionTimestamp"):
        what = "doesn't already exist" if existing is None else "is being deleted"
        raise ClusterNotFoundError(
            f"Cluster {name} {what} in the namespace {namespace} "
            f"and create mode is '{CreateMode.CONNECT_ONLY.value}'"
        )
    return existing


async def _get(api: Api, namespace: str, name: str) -> Json | None:
    try:
        return await raw.get(api, CLUSTERS.path(namespace, name))
    except NotFoundError as error:
        if error.details.get("name") == name:
            return None
        raise


async def _until_gone(api: Api, namespace: str, cluster: Json, timeout: float) -> None:
    try:
        await until_deleted(api, namespace, cluster, timeout)
    except TimeoutError as error:
        name = cluster["metadata"]["name"]
        raise ResourceTimeoutError(
            f"A cluster {name} is being deleted, and still exists after {timeout:g} seconds: "
            f"{', '.join(cluster['metadata'].get('finalizers') or []) or 'its dependents'} hold it up."
        ) from error


async def until_deleted(api: Api, namespace: str, cluster: Json, timeout: float | None) -> None:
    """Wait until a cluster doesn't exist any more.

    Raises
    ------
    TimeoutError
        It still does after ``timeout`` seconds.
    """
    name, uid = cluster["metadata"]["name"], cluster["metadata"]["uid"]
    pulse = asyncio.Event()
    informer = Informer(api, CLUSTERS.path(namespace), pulse.set, {"fieldSelector": f"metadata.name={name}"})
    informer.start_with(cluster)
    watching = asyncio.create_task(informer.run(), name=f"{name}: watch deletion")
    try:
        async with asyncio.timeout(timeout):
            while name in informer.objects and informer.objects[name]["metadata"]["uid"] == uid:
                await pulse.wait()
                pulse.clear()
                if watching.done():  # We may not watch.
                    return await watching
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


def explained(error: NotFoundError | ForbiddenError | InvalidError, namespace: str) -> KubeClusterError:
    """Say what an API server's refusal to create or find a cluster means."""
    if isinstance(error, ForbiddenError):
        return with_remedy(error)
    if isinstance(error, InvalidError):
        return ValidationError(str(error))
    if error.details.get("kind") == "namespaces":
        return ValidationError(
            f"The namespace {namespace} doesn't exist; create it: `kubectl create namespace {namespace}`"
        )
    return MissingCRDsError(
        "Failed to create DaskCluster resource. Are the Dask Custom Resource Definitions installed? "
        "`dask kubernetes crds | kubectl apply --server-side -f -` installs them. "
        f"The operator is needed too: {INSTALL}."
    )
