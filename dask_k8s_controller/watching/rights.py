"""What the API server allows the controller, asked before kopf would try it again and again."""

from __future__ import annotations

import logging

import aiohttp

from dask_k8s_controller.kubernetes.connection import Connection
from dask_k8s_controller.kubernetes.errors import ControllerError
from dask_k8s_controller.kubernetes.resources import CLUSTERS, WATCHED, Resource

logger = logging.getLogger(__name__)

TIME_LIMIT = aiohttp.ClientTimeout(total=10)

SCANNED = (("", "namespaces"), ("apiextensions.k8s.io", "customresourcedefinitions"))
"""What kopf watches in order to follow namespaces and CRDs that come and go: group and resource."""


class KindsMissing(ControllerError):
    """The custom resource definitions aren't there, and nobody would tell when they are."""


async def look_around(connection: Connection) -> tuple[bool, tuple[Resource, ...]]:
    """Find out what there is to watch.

    While the API server doesn't answer, all is taken to be there and allowed: kopf then finds out by itself.
    The connection is closed.

    Returns
    -------
    bool
        Namespaces and CRDs may be listed, which a Role in one namespace can't allow.
    tuple of Resource
        What of the watched kinds the API server has.

    Raises
    ------
    KindsMissing
        They may not be listed, and our kinds aren't there: kopf would never hear of them.
    """
    try:
        async with connection.session:
            may_scan = all(
                [await _may_list(connection.session, connection.server, *what) for what in SCANNED]
            )
            missing = await _missing_kinds(connection.session, connection.server)
    except (aiohttp.ClientError, TimeoutError) as error:
        logger.warning("The API server did not say whether namespaces and CRDs may be listed: %s", error)
        return True, WATCHED
    if missing and not may_scan:
        raise KindsMissing(
            f"the custom resource definitions of {', '.join(one.plural for one in missing)} are missing, and "
            "the controller may not watch for them: have an administrator "
            "`kubectl apply --server-side -f schemas/crds.yaml`"
        )
    return may_scan, tuple(resource for resource in WATCHED if resource not in missing)


async def _may_list(session: aiohttp.ClientSession, server: str, group: str, resource: str) -> bool:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "list", "group": group, "resource": resource}},
    }
    url = f"{server}/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    async with session.post(url, json=review, timeout=TIME_LIMIT) as answer:
        answer.raise_for_status()
        allowed: bool = (await answer.json())["status"]["allowed"]
        return allowed


async def _missing_kinds(session: aiohttp.ClientSession, server: str) -> list[Resource]:
    async with session.get(f"{server}/apis/{CLUSTERS.api_version}", timeout=TIME_LIMIT) as answer:
        if answer.status not in (200, 404):
            answer.raise_for_status()
        served = {item["name"] for item in (await answer.json()).get("resources") or ()}
    return [one for one in WATCHED if one.group == CLUSTERS.group and one.plural not in served]
