"""Answers in JSON."""

from __future__ import annotations

from aiohttp import web

from dask_k8s_local.api.store import encode
from dask_k8s_local.interfaces import Object


def raw_response(body: bytes, code: int = 200, media_type: str = "application/json") -> web.Response:
    return web.Response(body=body, status=code, content_type=media_type)


def json_response(body: Object, code: int = 200) -> web.Response:
    return raw_response(encode(body), code)
