"""An API server in this process, and clients that speak HTTP to it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Iterable

import aiohttp
import pytest

from dask_k8s_local.api import ApiServer
from dask_k8s_local.api.access.users import ADMIN, MASTERS
from tests.local.api.http import Http


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    server = ApiServer(controllers=False)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def client(server: ApiServer) -> AsyncIterator[Callable[..., Http]]:
    """Make clients: each with its own user and user agent."""
    sessions = []

    def make(user: str = ADMIN, agent: str = "tests/1", groups: Iterable[str] = (MASTERS,)) -> Http:
        context = ssl.create_default_context(cadata=server.ca_pem.decode())
        headers = {"Authorization": f"Bearer {server.users.token(user, groups)}", "User-Agent": agent}
        connector = aiohttp.TCPConnector(ssl=context, limit=0)
        session = aiohttp.ClientSession(headers=headers, connector=connector)
        sessions.append(session)
        return Http(session, server.url)

    yield make
    for session in sessions:
        await session.close()


@pytest.fixture
async def http(client: Callable[..., Http]) -> Http:
    return client()
