"""Has external-dns publish each scheduler as ``{service}.{namespace}.{DASK_DASHBOARD_DOMAIN}``."""

from __future__ import annotations

import os
from typing import Any

import kopf

DOMAIN = os.environ.get("DASK_DASHBOARD_DOMAIN", "dask.example.com")
HOST_NAME = "external-dns.alpha.kubernetes.io/hostname"


@kopf.on.create("service", labels={"dask.org/component": "scheduler"})
async def scheduler_service_created(name: str, namespace: str, patch: kopf.Patch, **_: Any) -> None:
    """Give the Service a name when it is created; users may change the annotation afterwards."""
    patch.metadata.annotations[HOST_NAME] = f"{name}.{namespace}.{DOMAIN}"
