"""Probes and lifecycle handlers: ask a container over HTTP, TCP, or by a command in it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp

from dask_k8s_local.interfaces import Object

USER_AGENT = "kube-probe/1.37"
LONGEST_OUTPUT = 10 * 1024

Execute = Callable[[list[str]], Awaitable[tuple[int, bytes]]]
"""Run a command in the container: exit code and output."""


@dataclass(frozen=True)
class Target:
    """A container as probes reach it."""

    container: Object
    pod_ip: str
    execute: Execute
    http: aiohttp.ClientSession


class UnhealthyError(Exception):
    """A probe failed; the message is kubelet's."""


async def probe_once(probe: Object, target: Target) -> None:
    """Ask once; raise UnhealthyError if the answer is bad or late."""
    limit = probe.get("timeoutSeconds") or 1
    try:
        async with asyncio.timeout(limit):
            if "exec" in probe:
                await _run_exec(probe["exec"], target)
            elif "httpGet" in probe:
                await _get(probe["httpGet"], target)
            elif "tcpSocket" in probe:
                await _connect(probe["tcpSocket"], target)
            else:
                raise UnhealthyError("this node asks by exec, httpGet and tcpSocket only")
    except TimeoutError:
        if "exec" in probe:
            command = " ".join(probe["exec"].get("command") or [])
            raise UnhealthyError(f'command timed out: "{command}" timed out after {limit}s') from None
        if "httpGet" in probe:
            url = _url(probe["httpGet"], target)
            raise UnhealthyError(
                f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
            ) from None
        raise UnhealthyError(f"dial tcp {target.pod_ip}: i/o timeout") from None


async def handle_once(handler: Object, target: Target) -> None:
    """Run a lifecycle handler; raise UnhealthyError if it fails."""
    if "exec" in handler:
        await _run_exec(handler["exec"], target)
    elif "httpGet" in handler:
        await _get(handler["httpGet"], target)
    elif "sleep" in handler:
        await asyncio.sleep(handler["sleep"]["seconds"])


async def _run_exec(handler: Object, target: Target) -> None:
    code, output = await target.execute(handler.get("command") or [])
    if code != 0:
        raise UnhealthyError(output[:LONGEST_OUTPUT].decode(errors="replace"))


async def _get(handler: Object, target: Target) -> None:
    url = _url(handler, target)
    headers = {"User-Agent": USER_AGENT, "Accept": "*/*"}
    headers |= {header["name"]: header["value"] for header in handler.get("httpHeaders") or []}
    try:
        async with target.http.get(url, headers=headers, ssl=False, allow_redirects=True) as response:
            status = response.status
    except (aiohttp.ClientConnectorError, ConnectionError) as error:
        raise UnhealthyError(f'Get "{url}": dial tcp {_host(handler, target)}: {_reason(error)}') from None
    except aiohttp.ClientError as error:
        raise UnhealthyError(f'Get "{url}": {error or "EOF"}') from None
    if not 200 <= status < 400:
        raise UnhealthyError(f"HTTP probe failed with statuscode: {status}")


async def _connect(handler: Object, target: Target) -> None:
    host, port = handler.get("host") or target.pod_ip, port_number(handler["port"], target.container)
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        raise UnhealthyError(f"dial tcp {host}:{port}: connect: {_reason(error)}") from None
    writer.close()


def _url(handler: Object, target: Target) -> str:
    scheme = (handler.get("scheme") or "HTTP").lower()
    path = handler.get("path") or "/"
    return f"{scheme}://{_host(handler, target)}{path if path.startswith('/') else '/' + path}"


def _host(handler: Object, target: Target) -> str:
    return f"{handler.get('host') or target.pod_ip}:{port_number(handler['port'], target.container)}"


def _reason(error: Exception) -> str:
    cause = getattr(error, "os_error", error)
    if isinstance(cause, ConnectionRefusedError):
        return "connect: connection refused" if cause is not error else "connection refused"
    return str(cause)


def port_number(port: int | str, container: Object) -> int:
    """Return the number of a port given by number or name."""
    if isinstance(port, int):
        return port
    for entry in container.get("ports") or []:
        if entry.get("name") == port:
            return int(entry["containerPort"])
    if port.isdigit():
        return int(port)
    raise UnhealthyError(f"couldn't find port: {port} in container {container['name']}")


async def watch_probe(
    probe: Object,
    target: Target,
    scale: float,
    *,
    passed: Callable[[], None],
    failed: Callable[[], None],
    report: Callable[[str], Awaitable[None]],
    once: bool = False,
) -> None:
    """Ask again and again, and tell when the thresholds are reached.

    Parameters
    ----------
    scale : float
        Multiplies delay and period.
    passed, failed
        Called whenever enough answers in a row were good, or bad.
    report
        Called with each bad answer.
    once : bool
        Whether to end when it has passed.
    """
    await asyncio.sleep((probe.get("initialDelaySeconds") or 0) * scale)
    good = bad = 0
    while True:
        try:
            await probe_once(probe, target)
        except UnhealthyError as error:
            good, bad = 0, bad + 1
            await report(str(error))
            if bad >= (probe.get("failureThreshold") or 3):
                failed()
        else:
            good, bad = good + 1, 0
            if good >= (probe.get("successThreshold") or 1):
                passed()
                if once:
                    return
        await asyncio.sleep((probe.get("periodSeconds") or 10) * scale)
