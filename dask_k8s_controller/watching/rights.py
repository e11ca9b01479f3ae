"""What the API server allows the controller, asked before kopf would try it again and again."""

from __future__ import annotations

import logging

from dask_k8s_controller.kubernetes.api import Api
from dask_k8s_controller.kubernetes.errors import ApiError, ControllerError
from dask_k8s_controller.kubernetes.resources import CLUSTERS, WATCHED, Resource

logger = logging.getLogger(__name__)

SCANNED = (("", "namespaces"), ("apiextensions.k8s.io", "customresourcedefinitions"))
"""What kopf watches in order to follow namespaces and CRDs that come and go: group and resource."""


class KindsMissing(ControllerError):
    """The custom resource definitions aren't there, and nobody would tell when they are."""


async def discover(api: Api) -> tuple[bool, tuple[Resource, ...]]:
    """Find out what there is to watch.

    While the API server doesn't answer, all is taken to be there and allowed: kopf then finds out by itself.

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
        may_scan = all([await api.may_list(*what) for what in SCANNED])
        served = await api.served(CLUSTERS)
    except ApiError as error:
        logger.warning("The API server did not say whether namespaces and CRDs may be listed: %s", error)
        return True, WATCHED
    missing = [one for one in WATCHED if one.group == CLUSTERS.group and one.plural not in served]
    if missing and not may_scan:
        raise KindsMissing(
            f"the custom resource definitions of {', '.join(one.plural for one in missing)} are missing, and "
            "the controller may not watch for them: have an administrator "
            "`kubectl apply --server-side -f schemas/crds.yaml`"
        )
    return may_scan, tuple(resource for resource in WATCHED if resource not in missing)
