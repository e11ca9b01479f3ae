"""Chromium without a window, driven by its debugging protocol (https://chromedevtools.github.io/devtools-protocol/)."""

# Nothing else goes on in this loop meanwhile.
# ruff: noqa: ASYNC110, ASYNC220, ASYNC240
from __future__ import annotations

import asyncio
import base64
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--no-first-run",
    "--remote-debugging-port=0",
)


class Page:
    """A page of the browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse[bool]) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)

    async def call(self, method: str, **parameters: Any) -> Any:
        """Call a method of the protocol and return its result."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while (answer := await self._socket.receive_json()).get("id") != number:
            pass  # events
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    async def open(self, address: str) -> None:
        """Go to an address."""
        await self.call("Page.navigate", url=address)

    async def evaluate(self, script: str) -> Any:
        """Return the value of an expression in JavaScript, of its promise if it is one."""
        answer = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if problem := answer.get("exceptionDetails"):
            raise RuntimeError(f"{script}: {problem.get('exception', problem)}")
        return answer["result"].get("value")

    async def until(self, script: str, timeout: float = 60) -> None:
        """Wait until an expression is true."""
        async with asyncio.timeout(timeout):
            while not await self.evaluate(script):
                await asyncio.sleep(0.05)

    async def take(self, path: Path, selector: str, trim: int = 0) -> None:
        """Write a picture of what a selector finds, but for so many lines at its end."""
        x, y, width, height = await self.evaluate(
            f"((box) => [box.x, box.y, box.width, box.height])({element(selector)}.getBoundingClientRect())"
        )
        clip = {"x": x, "y": y, "width": width, "height": height - trim, "scale": 1}
        answer = await self.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))
        print(path)


def element(selector: str) -> str:
    """Write what finds an element in JavaScript."""
    return f"document.querySelector({json.dumps(selector)})"


@asynccontextmanager
async def browser(width: int, height: int) -> AsyncIterator[Page]:
    """Start a browser, and end it after use."""
    program = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if program is None:
        sys.exit(f"None of {', '.join(BROWSERS)} is installed.")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [program, *OPTIONS, f"--user-data-dir={profile}", f"--window-size={width},{height}"]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            async with aiohttp.ClientSession() as session:
                address = await _page_address(session, Path(profile) / "DevToolsActivePort")
                async with session.ws_connect(address, max_msg_size=0) as socket:
                    yield Page(socket)
        finally:
            process.terminate()
            process.wait()


async def _page_address(session: aiohttp.ClientSession, file: Path) -> str:
    async with asyncio.timeout(30):
        while not file.exists() or not file.read_text():
            await asyncio.sleep(0.05)
    port = file.read_text().split()[0]
    async with session.get(f"http://127.0.0.1:{port}/json") as answer:
        [page] = [one for one in await answer.json() if one["type"] == "page"]
    return str(page["webSocketDebuggerUrl"])
