"""``kubectl exec`` over WebSockets."""

from __future__ import annotations

from contextlib import suppress

from aiohttp import WSMsgType, web

from dask_k8s_local.api import errors
from dask_k8s_local.api.http.call import Call
from dask_k8s_local.api.storage.store import encode
from dask_k8s_local.api.subresources.pods import container_of, kubelet_of, pod_of
from dask_k8s_local.api.subresources.websockets import accept, require_websocket
from dask_k8s_local.interfaces import ApiError

_STDIN, _STDOUT, _STDERR, _ERROR, _CLOSE = 0, 1, 2, 3, 255
_CHUNK = 1024 * 1024


async def execute(call: Call) -> web.StreamResponse:
    """Run a command in a container; its output and then its end are sent on their channels."""
    require_websocket(call)
    pod = pod_of(call)
    container = container_of(call, pod)
    command = call.http.query.getall("command", [])
    if not command:
        raise errors.bad_request("you must specify at least one command for the container")
    kubelet = kubelet_of(call, pod)
    websocket = await accept(call)
    try:
        stdin = await _read_stdin(websocket) if call.flag("stdin") else b""
        try:
            code, stdout, stderr = await kubelet.exec(pod, container, command, stdin)
        except ApiError as error:
            await websocket.send_bytes(bytes([_ERROR]) + encode(errors.status(error)))
            return websocket
        for channel, wanted, output in ((_STDOUT, "stdout", stdout), (_STDERR, "stderr", stderr)):
            if call.flag(wanted):
                for start in range(0, len(output), _CHUNK):
                    await websocket.send_bytes(bytes([channel]) + output[start : start + _CHUNK])
        await websocket.send_bytes(bytes([_ERROR]) + encode(_exit_status(code)))
    finally:
        with suppress(ConnectionError):
            await websocket.close()
    return websocket


async def _read_stdin(websocket: web.WebSocketResponse) -> bytes:
    """Read until the client closes its channel, which v5 of the protocol can say."""
    data = bytearray()
    async for message in websocket:
        if message.type is WSMsgType.BINARY and message.data:
            if message.data[0] == _CLOSE:
                break
            if message.data[0] == _STDIN:
                if len(message.data) == 1:
                    break
                data += message.data[1:]
    return bytes(data)


def _exit_status(code: int) -> dict[str, object]:
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
        "code": 500,
    }
