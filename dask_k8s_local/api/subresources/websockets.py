"""Accepting WebSockets, whose subprotocols say what goes over them."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from dask_k8s_local.api import errors
from dask_k8s_local.api.http.call import Call

CHANNELS = ("v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io")
"""A channel's number comes before what each message says on it."""


def offered(call: Call) -> list[str]:
    """Return the subprotocols that a client would speak."""
    header = call.http.headers.get("Sec-WebSocket-Protocol", "")
    return [one for part in header.split(",") if (one := part.strip())]


async def accept(call: Call, protocols: Sequence[str] = CHANNELS) -> web.WebSocketResponse:
    websocket = web.WebSocketResponse(protocols=protocols, max_msg_size=0, heartbeat=None, compress=False)
    await websocket.prepare(call.http)
    return websocket


def require_websocket(call: Call, protocols: Sequence[str] = CHANNELS) -> None:
    """Raise 501 unless a client wants a WebSocket of one of these kinds."""
    if call.http.headers.get("Upgrade", "").lower() != "websocket":
        raise errors.not_implemented(f"pods/{call.target.subresource} without a WebSocket")
    names = offered(call)
    if names and not set(names) & set(protocols):
        raise errors.not_implemented(f"pods/{call.target.subresource} by {', '.join(names)}")
