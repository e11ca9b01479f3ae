"""Which subresource is served how; status and finalize are ordinary writes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from dask_k8s_local.api.http.call import Call
from dask_k8s_local.api.subresources import logs, placing, proxy, scale, tokens, websockets

SUBRESOURCES: dict[str, Callable[[Call], Awaitable[web.StreamResponse]]] = {
    "binding": placing.bind,
    "eviction": placing.evict,
    "exec": websockets.execute,
    "log": logs.serve,
    "portforward": websockets.port_forward,
    "proxy": proxy.serve,
    "scale": scale.serve,
    "token": tokens.request_token,
}
