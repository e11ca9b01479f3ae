"""Reads the answers of schedulers, which are not to be trusted: whatever is odd is a bad answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pydantic import TypeAdapter, ValidationError

from dask_k8s_controller.kubernetes.errors import BadAnswer
from dask_k8s_controller.scheduler.answers import Count, Demand, Number, Worker

T = TypeVar("T")

LARGEST_SKEW = 300.0
"""Seconds by which a scheduler's clock may be ahead of ours, where its answers have no date."""

OBJECT: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])
OBJECTS: TypeAdapter[dict[str, dict[str, Any]]] = TypeAdapter(dict[str, dict[str, Any]])
COUNTS: TypeAdapter[dict[str, int]] = TypeAdapter(dict[str, Count])
NUMBER: TypeAdapter[float] = TypeAdapter(Number)
DEMAND, WORKERS = TypeAdapter(Demand), TypeAdapter(tuple[Worker, ...])


def read(form: TypeAdapter[T], answer: Any) -> T:
    """Return an answer in the form that it should have.

    Raises
    ------
    BadAnswer
        It has another.
    """
    try:
        return form.validate_python(answer)
    except ValidationError as error:
        (first, *_) = error.errors(include_url=False, include_input=False)
        where = ".".join(str(part) for part in first["loc"])
        message = f"the scheduler's answer is not of the form that its routes have: {where} {first['msg']}"
        raise BadAnswer(message) from error


def parse_workers(answer: Any) -> tuple[Worker, ...]:
    """Read the answer of the preload's ``workers``, or ``identity.json``."""
    entries = read(OBJECTS, read(OBJECT, answer).get("workers"))
    return read(WORKERS, [_facts(address, entry) for address, entry in entries.items()])


def _facts(address: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    facts = {**entry, "address": address, "host": _host(address), "can_drain": "processing" in entry}
    facts["name"] = entry.get("name") or entry.get("id")
    if metrics := read(OBJECT, entry.get("metrics") or {}):
        # Of the last heartbeat; the counts are since 2023.4.
        counts = read(COUNTS, metrics.get("task_counts") or {})
        running = sum(counts.get(state, 0) for state in ("executing", "long-running"))
        has_counts = "task_counts" in metrics
        facts["processing"] = running if has_counts else metrics.get("executing")
        facts["keys"] = counts.get("memory", 0) if has_counts else metrics.get("in_memory")
        facts["nbytes"] = metrics.get("managed_bytes")
    return facts


def _host(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def parse_idle_for(answer: Any, now: float) -> float | None:
    """Read the answer of ``check_idle``, at a time in seconds since 1970."""
    since = read(OBJECT, answer).get("idle_since")
    if since is None:
        return None
    moment = read(NUMBER, since)
    if not 0 <= moment <= now + LARGEST_SKEW:
        raise BadAnswer("the scheduler's answer has an impossible idle_since")
    return max(0.0, now - moment)
