"""The logs of a cluster's pods, also of those that crashed or never started."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from dask_k8s_client import pods, raw
from dask_k8s_client.errors import ApiError, ForbiddenError, with_remedy
from dask_k8s_client.resources import PODS
from dask_k8s_models import labels

if TYPE_CHECKING:
    from dask_k8s_client.api import Api

Json = dict[str, Any]

AT_ONCE = 16
"""Logs that are read at the same time."""


async def cluster_logs(api: Api, namespace: str, cluster: str, **options: str) -> dict[str, str]:
    """Return the logs of a cluster's scheduler and workers by pod name.

    Parameters
    ----------
    api : Api
        Connected to the API server; the caller closes it.
    namespace, cluster : str
        The cluster that the pods belong to, and where both are.
    **options : str
        Query parameters of the log request, e.g. ``tailLines``.

    Returns
    -------
    dict
        A pod that has no log has the reason in its place.
    """
    dask = await dask_pods(api, namespace, cluster)
    places = asyncio.Semaphore(AT_ONCE)

    async def read(pod: Json) -> str:
        async with places:
            return await pod_log(api, namespace, pod, **options)

    texts = await asyncio.gather(*(read(pod) for pod in dask))
    return {pod["metadata"]["name"]: text for pod, text in zip(dask, texts, strict=True)}


async def dask_pods(api: Api, namespace: str, cluster: str) -> list[Json]:
    """Return a cluster's scheduler and workers."""
    answer = await raw.get(api, PODS.path(namespace), labelSelector=f"{labels.CLUSTER_NAME}={cluster}")
    wanted = (labels.Component.SCHEDULER, labels.Component.WORKER)
    found = [pod for pod in answer["items"] if pods.component(pod) in wanted]
    return sorted(found, key=lambda pod: (pods.component(pod), pod["metadata"]["name"]))


async def pod_log(api: Api, namespace: str, pod: Json, **options: str) -> str:
    """Return the log of the container that runs Dask, or why there is none."""
    path = PODS.path(namespace, pod["metadata"]["name"], "log")
    parameters = {"container": pods.main_container(pod), **options}
    previous = ""
    if pods.restarts(pod):
        # What a person wants to know is in the run that crashed.
        previous = await _read(api, path, {**parameters, "previous": "true"})
    try:
        current = await raw.text(api, path, **parameters)
    except ForbiddenError as error:
        return f"Cannot read the log. {with_remedy(error)}"
    except ApiError as error:
        return previous or f"Cannot find logs. Pod is {pods.state(pod)}. ({error})"
    if previous and current:
        return f"{previous.rstrip()}\n--- restarted ---\n{current}"
    return previous or current


async def _read(api: Api, path: str, parameters: dict[str, str]) -> str:
    try:
        return await raw.text(api, path, **parameters)
    except ApiError:
        return ""
