"""What the API server allows the controller, asked before kopf would try it again and again."""

from __future__ import annotations

import logging

import aiohttp

from dask_k8s_controller.kubernetes.connection import Connection

logger = logging.getLogger(__name__)

TIME_LIMIT = aiohttp.ClientTimeout(total=10)

SCANNED = (("", "namespaces"), ("apiextensions.k8s.io", "customresourcedefinitions"))
"""What kopf watches in order to follow namespaces and CRDs that come and go: group and resource."""


async def may_scan(connection: Connection) -> bool:
    """Return whether namespaces and CRDs may be listed, which a Role in one namespace can't allow.

    While the API server doesn't answer, they may: kopf then finds out by itself. The connection is closed.
    """
    try:
        async with connection.session:
            return all([await _may_list(connection.session, connection.server, *what) for what in SCANNED])
    except (aiohttp.ClientError, TimeoutError) as error:
        logger.warning("The API server did not say whether namespaces and CRDs may be listed: %s", error)
        return True


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
