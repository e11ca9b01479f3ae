"""How the controller speaks with a Dask scheduler: HTTP and JSON only, bounded in size and time.

A user's scheduler is not to be trusted: whatever it answers, nothing is unpickled, followed, or read without
end, and it never sees the controller's credentials.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

import aiohttp
from yarl import URL

from dask_k8s_controller.kubernetes.api import Api
from dask_k8s_controller.kubernetes.certificates import not_after
from dask_k8s_controller.kubernetes.errors import ApiError, BadAnswer, NoSuchRoute, Unreachable
from dask_k8s_controller.kubernetes.slots import Slots
from dask_k8s_controller.scheduler.answers import Demand, ServedCertificate, Worker
from dask_k8s_controller.scheduler.endpoint import Endpoint
from dask_k8s_controller.scheduler.parsing import (
    COUNTS,
    DEMAND,
    OBJECT,
    parse_idle_for,
    parse_workers,
    read,
)
from dask_k8s_controller.settings import Patience

logger = logging.getLogger(__name__)

PRELOADED = "/dask-k8s/v1"
"""Where the routes of `scheduler.preload` are."""

AT_ONCE = 16
"""So many questions to a namespace's schedulers are under way at a time, and as many retirements."""

BASE_SIZE = 256 * 1024
SIZE_PER_WORKER = 16 * 1024
"""An answer may have so many bytes; a worker's entry in ``identity.json`` takes about 3 KiB."""


@dataclass(eq=False)
class SchedulerClient:
    """Asks schedulers, directly from within the Kubernetes cluster, else through the API server.

    Its connection tells whether we are within; ``patience`` has the time limits.
    """

    api: Api
    patience: Patience = field(default_factory=Patience)
    _session: aiohttp.ClientSession | None = field(default=None, init=False)
    _missing: dict[str, set[str]] = field(default_factory=dict, init=False)
    """Routes that schedulers lack, by the uid of the pod."""
    _slots: Slots = field(default_factory=lambda: Slots(AT_ONCE), init=False)

    def forget(self, uid: str) -> None:
        """Drop what is remembered of a scheduler's pod that is gone."""
        self._missing.pop(uid, None)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def workers(self, endpoint: Endpoint) -> tuple[Worker, ...]:
        """Return the workers that the scheduler knows."""
        return parse_workers(await self._ask_one(endpoint, "workers", "/json/identity.json"))

    async def drain(self, endpoint: Endpoint, addresses: Iterable[str]) -> Mapping[str, int]:
        """Have workers get no more tasks; return how many each of them still has."""
        return read(COUNTS, await self._ask(endpoint, f"{PRELOADED}/drain", addresses))

    async def resume(self, endpoint: Endpoint, addresses: Iterable[str]) -> None:
        """Have drained workers get tasks again."""
        await self._ask(endpoint, f"{PRELOADED}/resume", addresses)

    async def expect(self, endpoint: Endpoint) -> bool:
        """Tell the scheduler that workers are on their way."""
        await self._ask(endpoint, f"{PRELOADED}/expect", ())
        return True

    async def certificate(self, endpoint: Endpoint) -> ServedCertificate:
        """Return the certificate that the scheduler was started with."""
        answer = read(OBJECT, await self._ask(endpoint, f"{PRELOADED}/certificate"))
        pem = str(answer.get("certificate"))
        if (ends := not_after(pem)) is None:
            raise BadAnswer("the scheduler's answer has no certificate")
        return ServedCertificate(pem, ends)

    async def idle_for(self, endpoint: Endpoint) -> float | None:
        """Return for how many seconds the scheduler has had nothing to do; None if it has."""
        # Both moments are the scheduler's: whatever our clock says, they fit together.
        answer, now = await self._ask_dated(endpoint, "/api/v1/check_idle")
        return parse_idle_for(answer, now)

    async def demand(self, endpoint: Endpoint) -> Demand:
        """Return how many workers the scheduler could use, and what for, if it knows."""
        return read(DEMAND, await self._ask_one(endpoint, "demand", "/api/v1/adaptive_target"))

    async def retire(self, endpoint: Endpoint, addresses: Iterable[str]) -> frozenset[str]:
        """Have workers retired; return the addresses of those that were.

        A worker that the scheduler would not retire, as nobody can take over what it holds, is missing.
        """
        answer = await self._ask(endpoint, "/api/v1/retire_workers", addresses, self.patience.retire)
        return frozenset(read(OBJECT, answer).keys())

    async def _ask_one(self, endpoint: Endpoint, ours: str, theirs: str) -> Any:
        """Ask a route of the preload; one of distributed's where that is missing, or too old to have it."""
        if ours not in self._missing.get(endpoint.uid, ()):
            try:
                return await self._ask(endpoint, f"{PRELOADED}/{ours}")
            except NoSuchRoute:
                self._missing.setdefault(endpoint.uid, set()).add(ours)
        return await self._ask(endpoint, theirs)

    async def _ask(
        self, endpoint: Endpoint, path: str, of: Iterable[str] | None = None, timeout: float | None = None
    ) -> Any:
        """Return an answer, or what came of an order about workers of these addresses."""
        return (await self._ask_dated(endpoint, path, of, timeout))[0]

    async def _ask_dated(
        self, endpoint: Endpoint, path: str, of: Iterable[str] | None = None, timeout: float | None = None
    ) -> tuple[Any, float]:
        """Return an answer, and when it was given by the scheduler's clock, in seconds since 1970."""
        method, body = ("GET", None) if of is None else ("POST", {"workers": sorted(of)})
        limit = BASE_SIZE + SIZE_PER_WORKER * endpoint.workers
        # What takes long has slots of its own: nobody waits for it who only has a question.
        kind = (endpoint.namespace, timeout is not None)
        try:
            async with (
                self._way_to(endpoint) as (request, base),
                self._slots.of(kind),
                asyncio.timeout(timeout or self.patience.answer),
                request(method, URL(base + path, encoded=True), json=body, allow_redirects=False) as response,
            ):
                content = await _read(response, limit)
                return _decode(response.status, path, content), _date(response)
        except TimeoutError as error:
            raise Unreachable(f"the scheduler {endpoint.pod} does not answer {path} in time") from error
        except (aiohttp.ClientError, OSError) as error:
            # Users read this in a status: it says nothing of the network.
            logger.debug("%s/%s: %s", endpoint.namespace, endpoint.pod, error)
            raise Unreachable(f"the scheduler {endpoint.pod} can't be reached") from error

    @asynccontextmanager
    async def _way_to(self, endpoint: Endpoint) -> AsyncIterator[tuple[Callable[..., Any], str]]:
        """Yield how to reach a scheduler: what sends requests, and a base URL."""
        try:
            async with self.api.connected() as connection:
                if not connection.in_cluster:
                    yield connection.session.request, connection.server + endpoint.proxy_path
                elif endpoint.ip:
                    request = partial(self._anonymous_session().request, ssl=_trust(endpoint))
                    yield request, endpoint.direct_url
                else:
                    raise Unreachable(f"the scheduler {endpoint.pod} has no address yet")
        except ApiError as error:
            raise Unreachable("the API server, on the way to the scheduler, is out of reach") from error

    def _anonymous_session(self) -> aiohttp.ClientSession:
        """Return a session without credentials, cookies and proxies."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "dask-k8s-controller", "Accept-Encoding": "identity"},
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(total=None),
            )
        return self._session


def _trust(endpoint: Endpoint) -> aiohttp.Fingerprint | bool:
    """Return whom to believe that it is the scheduler: the one with the certificate that we made."""
    try:
        return aiohttp.Fingerprint(bytes.fromhex(endpoint.https)) if endpoint.https else True
    except ValueError:
        # The Secret is the user's, which we can't read. Its pod was found by its address, as without TLS.
        return False


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > limit:
            raise BadAnswer(f"the scheduler's answer has more than {limit} bytes")
    return bytes(content)


def _date(response: aiohttp.ClientResponse) -> float:
    try:
        return parsedate_to_datetime(response.headers["Date"]).timestamp()
    except (KeyError, ValueError):
        return time.time()


def _decode(status: int, path: str, content: bytes) -> Any:
    answer: Any = None
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError) as error:
        if status < 300:
            raise BadAnswer(f"the scheduler's answer to {path} is not JSON") from error
    is_from_api_server = isinstance(answer, dict) and answer.get("kind") == "Status"
    if is_from_api_server and status >= 400:
        if status == 403:
            raise Unreachable("the API server does not let the controller through: grant it pods/proxy")
        raise Unreachable(f"the API server can't reach the scheduler's pod (HTTP {status})")
    if status in (404, 405):
        raise NoSuchRoute(
            f"the scheduler has no {path}: add distributed.http.scheduler.api to its "
            "distributed.scheduler.http.routes"
        )
    if status in (502, 503, 504):
        raise Unreachable(f"the scheduler answers {path} with HTTP {status}")
    if status >= 300:
        raise BadAnswer(f"the scheduler answers {path} with HTTP {status}")
    return answer
