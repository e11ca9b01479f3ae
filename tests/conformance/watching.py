"""A watch that is open from the moment it is entered, and shows events as they were sent, errors as well."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Self

import httpx

from tests.harness.kube import Kube, Object, Refused

Event = tuple[str, Object]


class Watch:
    """``with Watch(kube, "pods", namespace) as watch: … watch.until(…)``.

    Parameters
    ----------
    kube : Kube
    resource : str
    namespace : str, optional
    timeout : int
        Seconds after which the API server ends the watch.
    **params : str
        Query parameters, e.g. ``resourceVersion="12"``.
    """

    def __init__(
        self, kube: Kube, resource: str, namespace: str | None = None, *, timeout: int = 60, **params: str
    ) -> None:
        query = {"watch": "true", "timeoutSeconds": str(timeout), **params}
        limit = httpx.Timeout(30, read=timeout + 10)
        self._stream = kube.http.stream("GET", kube.path(resource, namespace), params=query, timeout=limit)
        self.events: list[Event] = []

    def __enter__(self) -> Self:
        self.response = self._stream.__enter__()
        if self.response.is_error:
            self.response.read()
            self._stream.__exit__(None, None, None)
            raise Refused(self.response)
        self._lines: Iterator[str] = self.response.iter_lines()
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.__exit__(None, None, None)

    def next(self) -> Event:
        """Return the next event, of whatever type."""
        line = next(self._lines, None)
        if line is None:
            raise TimeoutError(f"the watch ended after {shown(self.events)}")
        event = json.loads(line)
        self.events.append((event["type"], event["object"]))
        return self.events[-1]

    def until(self, done: Callable[[list[Event]], object]) -> list[Event]:
        """Return all events since the watch began, as soon as `done` holds of them."""
        while not done(self.events):
            self.next()
        return self.events

    def until_seen(self, kind: str, name: str) -> list[Event]:
        """Return all events since the watch began, up to one of a type about an object."""
        return self.until(lambda events: (kind, name) in shown(events))

    def to_its_end(self) -> list[Event]:
        for line in self._lines:
            event = json.loads(line)
            self.events.append((event["type"], event["object"]))
        return self.events


def shown(events: list[Event]) -> list[tuple[str, str]]:
    """Return events as pairs of type and object's name."""
    return [(kind, found.get("metadata", {}).get("name", "")) for kind, found in events]
