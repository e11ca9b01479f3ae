"""What shall go wrong on request, so that tests can break every call of a flow and see that it converges.

Faults concern requests from outside only; what runs in the server's own event loop is never disturbed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from aiohttp import web

from dask_k8s_local.api.http.target import Request
from dask_k8s_local.api.http.watches import Watches
from dask_k8s_local.api.storage.store import Store
from dask_k8s_local.interfaces import ApiError, Object

T = TypeVar("T")

_REASONS = {
    403: ("Forbidden", "forbidden: requested fault"),
    409: (
        "Conflict",
        "Operation cannot be fulfilled: please apply your changes to the latest version and try again",
    ),
    429: ("TooManyRequests", "the server has received too many requests and has asked us to try again later"),
    500: ("InternalError", "Internal error occurred: requested fault"),
    503: ("ServiceUnavailable", "the server is currently unable to handle the request"),
    504: ("Timeout", "the server was unable to return a response in the time allotted"),
}


Predicate = Callable[[Request], bool]


Handle = Callable[[], Awaitable[web.StreamResponse]]
Strike = Callable[[web.BaseRequest, Handle], Awaitable[web.StreamResponse]]
"""What happens instead of, or around, handling a request."""


@dataclass
class Fault:
    """One thing that goes wrong, until `Faults.remove` ends it.

    Attributes
    ----------
    hits : int
        How many requests it has struck.
    """

    when: Predicate
    nth: int | None
    times: int | None
    strike: Strike
    seen: int = 0
    hits: int = 0

    def concerns(self, request: Request) -> bool:
        """Count a request and tell whether the fault strikes it."""
        if not self.when(request) or (self.times is not None and self.hits >= self.times):
            return False
        self.seen += 1
        if self.nth is not None and self.seen != self.nth:
            return False
        self.hits += 1
        return True


class RequestLog:
    """The latest requests; a position is that among all there ever were, so that it stays what it was.

    Parameters
    ----------
    limit : int, default 50,000
        How many are kept.
    """

    def __init__(self, limit: int = 50_000) -> None:
        self._kept: deque[Request] = deque(maxlen=limit)
        self._total = 0

    def __len__(self) -> int:
        """Return how many requests there were, the forgotten ones as well."""
        return self._total

    def __iter__(self) -> Iterator[Request]:
        """Yield what is kept."""
        return iter(list(self._kept))

    def __getitem__(self, positions: slice) -> list[Request]:
        """Return a part; raise LookupError if its beginning is forgotten."""
        first, last, step = positions.indices(self._total)
        forgotten = self._total - len(self._kept)
        if first < min(forgotten, last):
            raise LookupError(f"of {self._total} requests only the last {len(self._kept)} are kept")
        return list(self._kept)[max(first - forgotten, 0) : max(last - forgotten, 0) : step]

    def append(self, request: Request) -> None:
        self._total += 1
        self._kept.append(request)


def _is_write(request: Request) -> bool:
    return request.is_write


class Faults:
    """The faults that are asked for, and the log of all requests from outside.

    Every method may be called from any thread. Where ``when`` is left out, a fault concerns every write.

    Attributes
    ----------
    log : RequestLog
        The requests from outside in the order of arrival.
    """

    def __init__(self, store: Store, watches: Watches) -> None:
        self._store = store
        self._watches = watches
        self._faults: list[Fault] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self.log = RequestLog()

    @property
    def writes(self) -> list[Request]:
        """The requests of the log that write."""
        return [request for request in self.log if request.is_write]

    def fail(
        self,
        code: int = 500,
        message: str | None = None,
        *,
        when: Predicate = _is_write,
        nth: int | None = None,
        times: int | None = None,
        retry_after: int | None = None,
    ) -> Fault:
        """Refuse requests before they take effect.

        Parameters
        ----------
        code : int, default 500
            The HTTP status: 403, 409, 429, 500, 503 or 504.
        message : str, optional
            The status's message, e.g. what an admission webhook says; one that fits the code by default.
        when : callable, optional
            Which requests it is about.
        nth : int, optional
            Only the n-th of them, counted from 1 and from now.
        times : int, optional
            How often at most; without limit by default.
        retry_after : int, optional
            Seconds for the header ``Retry-After``; 429 always has one, 1 by default.
        """
        reason, usual = _REASONS[code]
        details: Object = {}
        if retry_after is not None or code == 429:
            details["retryAfterSeconds"] = 1 if retry_after is None else retry_after

        async def strike(_request: web.BaseRequest, _handle: Handle) -> web.StreamResponse:
            raise ApiError(code, reason, message or usual, details)

        return self._add(Fault(when, nth, times, strike))

    def hang(
        self,
        *,
        after_effect: bool = False,
        seconds: float | None = None,
        when: Predicate = _is_write,
        nth: int | None = None,
        times: int | None = None,
    ) -> Fault:
        """Give requests no answer until the client gives up, or the seconds have passed: then 504."""
        reason, message = _REASONS[504]

        async def strike(_: web.BaseRequest, handle: Handle) -> web.StreamResponse:
            if after_effect:
                await handle()
            await (asyncio.Event().wait() if seconds is None else asyncio.sleep(seconds))
            raise ApiError(504, reason, message)

        return self._add(Fault(when, nth, times, strike))

    def break_connection(
        self,
        *,
        after_effect: bool = True,
        when: Predicate = _is_write,
        nth: int | None = None,
        times: int | None = None,
    ) -> Fault:
        """Cut the connection of requests, after (or before) they have taken effect."""

        async def strike(request: web.BaseRequest, handle: Handle) -> web.StreamResponse:
            if after_effect:
                await handle()
            if request.transport is not None:
                request.transport.abort()
            return web.Response()

        return self._add(Fault(when, nth, times, strike))

    def tell(
        self,
        hears: Callable[[], object],
        *,
        after_effect: bool = True,
        when: Predicate = _is_write,
        nth: int | None = None,
        times: int | None = None,
    ) -> Fault:
        """Call a function, in a thread, before requests take effect, or after it and before senders know."""

        async def strike(_: web.BaseRequest, handle: Handle) -> web.StreamResponse:
            if not after_effect:
                await asyncio.to_thread(hears)
                return await handle()
            answer = await handle()
            await asyncio.to_thread(hears)
            return answer

        return self._add(Fault(when, nth, times, strike))

    def delay(self, seconds: Callable[[], float], *, when: Predicate = lambda _: True) -> Fault:
        """Let requests wait before they are handled, each as long as the callable says."""

        async def strike(_: web.BaseRequest, handle: Handle) -> web.StreamResponse:
            await asyncio.sleep(seconds())
            return await handle()

        return self._add(Fault(when, None, None, strike))

    def _add(self, fault: Fault) -> Fault:
        self._faults.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        self._faults.remove(fault)

    def clear(self) -> None:
        """End all faults."""
        self._faults.clear()

    def cut_watches(self, when: Predicate = lambda _: True) -> int:
        """Cut the connections of open watches; return how many they were."""
        return self._in_loop(lambda: self._watches.cut(when))

    def forget_history(self) -> None:
        """Answer watches and continued lists from before now with 410 Gone."""
        self._in_loop(self._store.compact)

    def _in_loop(self, action: Callable[[], T]) -> T:
        loop = self._loop
        try:
            is_here = loop is None or asyncio.get_running_loop() is loop
        except RuntimeError:
            is_here = False
        if is_here or loop is None:
            return action()

        async def act() -> T:
            return action()

        return asyncio.run_coroutine_threadsafe(act(), loop).result()

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Say in which loop the server runs."""
        self._loop = loop

    async def around(self, request: Request, http: web.BaseRequest, handle: Handle) -> web.StreamResponse:
        """Log a request and handle it, with all that goes wrong about it."""
        self.log.append(request)
        for fault in reversed([fault for fault in list(self._faults) if fault.concerns(request)]):
            handle = partial(fault.strike, http, handle)
        return await handle()
