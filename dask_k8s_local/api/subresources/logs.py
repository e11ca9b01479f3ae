"""``kubectl logs``: what a container wrote, and what it writes as long as somebody listens."""

from __future__ import annotations

from contextlib import aclosing
from datetime import UTC, datetime, timedelta

from aiohttp import web

from dask_k8s_local.api import errors
from dask_k8s_local.api.http.call import Call
from dask_k8s_local.api.subresources.pods import container_of, kubelet_of, pod_of
from dask_k8s_local.interfaces import LogOptions


async def serve(call: Call) -> web.StreamResponse:
    if call.verb != "get":
        raise errors.method_not_allowed()
    pod = pod_of(call)
    options = _options(call, container_of(call, pod))
    if not pod["spec"].get("nodeName"):
        return web.Response(status=204)
    chunks = kubelet_of(call, pod).logs(pod, options)
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    async with aclosing(chunks) as stream:  # type: ignore[type-var]
        # The first chunk comes before the headers: a refusal must become a Status.
        first = await anext(stream, b"")
        await response.prepare(call.http)
        if first:
            await response.write(first)
        async for chunk in stream:
            await response.write(chunk)
    return response


_LEAST = {"tailLines": 0, "sinceSeconds": 1, "limitBytes": 1}


def _options(call: Call, container: str) -> LogOptions:
    query = call.http.query
    causes = [
        errors.invalid_value(name, value, f"must be greater than {'or equal to ' if not least else ''}0")
        for name, least in _LEAST.items()
        if (value := call.number(name)) is not None and value < least
    ]
    if causes:
        raise errors.invalid_kind("PodLogOptions", call.target.name, causes)
    since: datetime | None = None
    if (seconds := call.number("sinceSeconds")) is not None:
        since = datetime.now(UTC) - timedelta(seconds=seconds)
    elif query.get("sinceTime"):
        try:
            since = datetime.fromisoformat(query["sinceTime"].replace("Z", "+00:00"))
        except ValueError:
            raise errors.bad_request(f"sinceTime: can't read {query['sinceTime']!r} as RFC 3339") from None
    return LogOptions(
        container=container,
        follow=call.flag("follow"),
        previous=call.flag("previous"),
        timestamps=call.flag("timestamps"),
        tail_lines=call.number("tailLines"),
        limit_bytes=call.number("limitBytes"),
        since=since,
    )
