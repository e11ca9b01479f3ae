"""Which subresource is served how; status and finalize are ordinary writes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from dask_k8s_local.api.http.call import Call
from dask_k8s_local.api.subresources import execute, logs, placing, port_forward, proxy, scale, tokens

SUBRESOURCES: dict[str, Callable[[Call], Awaitable[web.StreamResponse]]] = {
    "binding": placing.bind,
    "eviction": placing.evict,
    "exec": execute.execute,
    "log": logs.serve,
    "portforward": port_forward.serve,
    "proxy": proxy.serve,
    "scale": scale.serve,
    "token": tokens.request_token,
}
