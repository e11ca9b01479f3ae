"""Waiting for what a test expects, with a limit."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, TypeVar

from tests.harness.kube import PATIENCE, Kube, Object, Refused

T = TypeVar("T")
CRDS = "customresourcedefinitions.apiextensions.k8s.io"


def eventually(
    look: Callable[[], T],
    *,
    until: Callable[[T], object] = bool,
    timeout: float = PATIENCE,
    every: float = 0.05,
) -> T:
    """Look again and again until what is found is as expected; a refusal counts as not yet."""
    deadline = time.monotonic() + timeout
    found: Any = None
    while True:
        try:
            found = look()
            if until(found):
                return found
        except Refused as refused:
            found = refused
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {timeout:g} s still {found!r}")
        time.sleep(every)


def condition(found: Object, kind: str) -> Object | None:
    """Return the condition of a type, if the object's status has it."""
    conditions = found.get("status", {}).get("conditions") or []
    return next((one for one in conditions if one["type"] == kind), None)


def condition_is(found: Object, kind: str, status: str = "True", reason: str | None = None) -> bool:
    one = condition(found, kind)
    return one is not None and one["status"] == status and reason in (None, one.get("reason"))


def described(kube: Kube, group_version: str) -> dict[str, Object]:
    """Return OpenAPI's documents as soon as there is one of a group's version: a moment after its kinds."""
    return eventually(
        lambda: json.loads(kube.request("GET", "/openapi/v3"))["paths"],
        until=lambda found: f"apis/{group_version}" in found,
    )


def established(kube: Kube, crd: str) -> Object:
    return kube.wait(CRDS, crd, until=lambda found: condition_is(found, "Established"))
