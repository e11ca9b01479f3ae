"""A client that speaks HTTP to the API server, as tests like to read it."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

Object = dict[str, Any]

JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"


class Answer:
    """A response that has been read."""

    def __init__(self, status: int, headers: Any, text: str) -> None:
        self.status = status
        self.headers = headers
        self.text = text

    @property
    def body(self) -> Object:
        return json.loads(self.text)

    @property
    def message(self) -> str:
        return self.body["message"]

    @property
    def warnings(self) -> list[str]:
        return [json.loads(one.split(" - ", 1)[1]) for one in self.headers.getall("Warning", [])]


class Http:
    """A client of one user."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url

    async def __call__(self, method: str, path: str, body: Any = None, **params: Any) -> Answer:
        headers = {}
        if "type" in params:
            headers["Content-Type"] = params.pop("type")
        if "accept" in params:
            headers["Accept"] = params.pop("accept")
        data = None
        if body is not None:
            text = body if isinstance(body, str) else json.dumps(body)
            data = io.BytesIO(text.encode())
            headers.setdefault("Content-Type", "application/json")
        query = {key: str(value) for key, value in params.items()}
        async with self.session.request(
            method, self.url + path, data=data, params=query, headers=headers
        ) as response:
            return Answer(response.status, response.headers, await response.text())

    async def get(self, path: str, **params: Any) -> Answer:
        return await self("GET", path, **params)

    async def post(self, path: str, body: Any, **params: Any) -> Answer:
        return await self("POST", path, body, **params)

    async def put(self, path: str, body: Any, **params: Any) -> Answer:
        return await self("PUT", path, body, **params)

    async def patch(self, path: str, body: Any, type_: str = MERGE, **params: Any) -> Answer:
        return await self("PATCH", path, body, type=type_, **params)

    async def apply(self, path: str, body: Any, manager: str = "tester", **params: Any) -> Answer:
        return await self("PATCH", path, body, type=APPLY, fieldManager=manager, **params)

    async def delete(self, path: str, body: Any = None, **params: Any) -> Answer:
        return await self("DELETE", path, body, **params)

    @asynccontextmanager
    async def watch(self, path: str, **params: Any) -> AsyncIterator[Watcher]:
        query = {"watch": "true", **{key: str(value) for key, value in params.items()}}
        async with self.session.get(self.url + path, params=query) as response:
            yield Watcher(response)


class Watcher:
    """A watch, read event by event."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.status = response.status

    async def next(self) -> tuple[str, Object]:
        async with asyncio.timeout(5):
            line = await self.response.content.readline()
        if not line:
            raise EOFError("the watch has ended")
        return self.parsed(line)

    @staticmethod
    def parsed(line: bytes) -> tuple[str, Object]:
        event = json.loads(line)
        return event["type"], event["object"]

    async def take(self, count: int) -> list[tuple[str, str]]:
        """Read some events as type and name."""
        return [
            (type_, body["metadata"]["name"]) for type_, body in [await self.next() for _ in range(count)]
        ]


async def eventually(check: Callable[[], Awaitable[bool]], seconds: float = 5) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(seconds):
        while not await check():  # noqa: ASYNC110 (what it asks has no event)
            await asyncio.sleep(0.01)


def causes(answer: Any) -> dict[str, str]:
    return {one["field"]: one["message"] for one in answer.body["details"]["causes"]}
