"""Find existing clusters, for tools that list them (entry point group ``dask_cluster_discovery``)."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

logger = logging.getLogger(__name__)


async def discover() -> AsyncIterator[tuple[str, Callable[..., Any]]]:
    """Yield each Dask cluster's name and the class whose ``from_name`` connects to it.

    All namespaces are searched if we may, else the current one. Without Kubernetes nothing is found.

    Examples
    --------
    >>> [name async for name, _ in discover()]  # doctest: +SKIP
    ['foo']
    """
    from dask_k8s_client import raw
    from dask_k8s_client.api import Api
    from dask_k8s_client.cluster import KubeCluster
    from dask_k8s_client.errors import ForbiddenError, KubeClusterError
    from dask_k8s_client.resources import CLUSTERS

    try:
        async with Api() as api:
            try:
                answer = await raw.get(api, CLUSTERS.path())
            except ForbiddenError:
                answer = await raw.get(api, CLUSTERS.path(api.namespace))
    except KubeClusterError as error:
        logger.debug("No Dask clusters on Kubernetes found: %s", error)
        return
    for cluster in answer["items"]:
        yield cluster["metadata"]["name"], KubeCluster
