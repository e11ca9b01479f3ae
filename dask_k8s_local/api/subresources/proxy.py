"""Pod and Service proxies: HTTP through the API server.

https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/#manually-constructing-apiserver-proxy-urls
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import aiohttp
from aiohttp import WSMsgType, web
from yarl import URL

from dask_k8s_local.api import errors
from dask_k8s_local.api.http.call import Call
from dask_k8s_local.api.storage.store import clone
from dask_k8s_local.interfaces import ApiError, Object
from dask_k8s_local.workloads.endpoints import is_serving, target_port

_HOP_BY_HOP = frozenset(
    (
        "authorization",
        "connection",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
_CHUNK = 64 * 1024


async def serve(call: Call) -> web.StreamResponse:
    scheme, name, port = _parts(call.target.name)
    if call.served.resource.full_name == "services":
        host, number = _service_address(call, name, port)
    else:
        host, number = _pod_address(call, name, port)
    # What follows is passed on as it was written: /api/v1/namespaces/{namespace}/{plural}/{name}/proxy/…
    asked = call.http.rel_url
    rest, query = "/".join(asked.raw_path.split("/")[8:]), asked.raw_query_string
    url = URL(f"{scheme}://{host}:{number}/{rest}" + (f"?{query}" if query else ""), encoded=True)
    if call.http.headers.get("Upgrade", "").lower() == "websocket":
        return await _pass_websocket(call, url)
    return await _pass_request(call, url)


def _parts(text: str) -> tuple[str, str, str]:
    """Take ``[scheme:]name[:port]`` apart."""
    parts = text.split(":")
    if len(parts) == 3:
        return parts[0] or "http", parts[1], parts[2]
    return "http", parts[0], parts[1] if len(parts) == 2 else ""


def _pod_address(call: Call, name: str, port: str) -> tuple[str, int]:
    pod: Object = clone(call.operations.get(call.served, call.namespace, name).object)
    declared = [one for container in pod["spec"]["containers"] for one in container.get("ports") or ()]
    if not port:
        number = declared[0]["containerPort"] if declared else 80
    elif port.isdigit():
        number = int(port)
    else:
        number = next((one["containerPort"] for one in declared if one.get("name") == port), None)
    if number is None:
        raise errors.bad_request(f'no port named "{port}" in pod {name}')
    return _address(call, pod, number)


def _service_address(call: Call, name: str, port: str) -> tuple[str, int]:
    service = call.operations.get(call.served, call.namespace, name).object
    ports = service["spec"].get("ports") or []
    if port:
        chosen = next((one for one in ports if port in (one.get("name"), str(one["port"]))), None)
    else:
        chosen = ports[0] if len(ports) == 1 else next((one for one in ports if not one.get("name")), None)
    if chosen is None:
        raise errors.service_unavailable(f'no service port "{port}" found for service "{name}"')
    selector = (service["spec"].get("selector") or {}).items()
    ready = [
        revision.object
        for revision in call.operations.store.collection("pods").revisions()
        if selector
        and revision.key[0] == call.namespace
        and selector <= (revision.object["metadata"].get("labels") or {}).items()
        and (revision.object.get("status") or {}).get("podIP")
        and is_serving(service, revision.object)
        and target_port(chosen, revision.object) is not None
    ]
    if not ready:
        raise errors.service_unavailable(f'no endpoints available for service "{name}"')
    pod: Object = clone(random.choice(ready))
    number = target_port(chosen, pod)
    assert number is not None
    return _address(call, pod, number)


def _address(call: Call, pod: Object, port: int) -> tuple[str, int]:
    kubelet = call.kubelets.get(pod["spec"].get("nodeName") or "")
    if kubelet is None:
        name = pod["metadata"]["name"]
        raise errors.service_unavailable(
            f"error trying to reach service: pod {name} has no node that answers"
        )
    return kubelet.address(pod, port)


def _unreachable(error: BaseException) -> ApiError:
    return errors.service_unavailable(f"error trying to reach service: {error}")


def _headers(call: Call) -> dict[str, str]:
    return {
        key: value
        for key, value in call.http.headers.items()
        if key.lower() not in _HOP_BY_HOP and not key.lower().startswith("sec-websocket")
    }


async def _pass_request(call: Call, url: URL) -> web.StreamResponse:
    request = call.http
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
    async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session:
        try:
            answer = await session.request(
                request.method,
                url,
                headers=_headers(call),
                data=request.content if request.body_exists else None,
                allow_redirects=False,
                ssl=False,  # As Kubernetes does, which knows nobody who could vouch for a pod.
            )
        except (aiohttp.ClientError, OSError) as error:
            raise _unreachable(error) from None
        async with answer:
            response = web.StreamResponse(status=answer.status, reason=answer.reason)
            for key, value in answer.headers.items():
                if key.lower() not in _HOP_BY_HOP:
                    response.headers.add(key, value)
            await response.prepare(request)
            async for chunk in answer.content.iter_chunked(_CHUNK):
                await response.write(chunk)
    return response


async def _pass_websocket(call: Call, url: URL) -> web.StreamResponse:
    protocols = [
        one.strip() for one in call.http.headers.get("Sec-WebSocket-Protocol", "").split(",") if one.strip()
    ]
    async with aiohttp.ClientSession() as session:
        try:
            inner = await session.ws_connect(
                url, headers=_headers(call), protocols=protocols, max_msg_size=0, ssl=False
            )
        except (aiohttp.ClientError, OSError) as error:
            raise _unreachable(error) from None
        async with inner:
            outer = web.WebSocketResponse(protocols=protocols, max_msg_size=0)
            await outer.prepare(call.http)
            ways = [
                asyncio.create_task(_pass_messages(outer, inner)),
                asyncio.create_task(_pass_messages(inner, outer)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
            await outer.close()
    return outer


_Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


async def _pass_messages(source: _Socket, target: _Socket) -> None:
    with suppress(ConnectionError):
        async for message in source:
            if message.type is WSMsgType.TEXT:
                await target.send_str(message.data)
            elif message.type is WSMsgType.BINARY:
                await target.send_bytes(message.data)
