"""What the local Kubernetes' API server, in process, answers to the strict creation of a manifest."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any

from dask_k8s_local.api import ApiServer
from dask_k8s_local.api.objects.options import Write
from dask_k8s_local.interfaces import ApiError
from dask_k8s_models import GROUP, KINDS, custom_resource_definitions

Json = dict[str, Any]


@cache
def api_server() -> ApiServer:
    """Return an API server that knows our kinds; it listens nowhere."""
    server = ApiServer()

    async def install() -> None:
        await server.client.create("namespaces", None, {"metadata": {"name": "default"}})
        for definition in custom_resource_definitions():
            await server.client.create("customresourcedefinitions.apiextensions.k8s.io", None, definition)

    asyncio.run(install())
    return server


def refusal(manifest: Json) -> ApiError | None:
    """Return the error that the API server answers a strict create with, None if it accepts."""
    server = api_server()
    served = server.registry.named(f"{KINDS[manifest['kind']].resource_names.plural}.{GROUP}")
    assert served is not None
    try:
        server.operations.create(served, "default", manifest, Write(field_validation="Strict", dry_run=True))
    except ApiError as error:
        return error
    return None
