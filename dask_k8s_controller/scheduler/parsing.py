"""Reads the answers of schedulers, which are not to be trusted: whatever is odd is a bad answer."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from dask_k8s_controller.kubernetes.errors import BadAnswer
from dask_k8s_controller.scheduler.answers import Demand, Need, Worker

LARGEST_SKEW = 300.0
"""Seconds by which a scheduler's clock may be ahead of ours, where its answers have no date."""

MOST_NEEDS = 20
"""Kinds of needs, and resources of a worker, that are read of an answer."""


def parse_demand(answer: Any) -> Demand:
    """Read the answer of the preload's ``demand``, or of ``adaptive_target``."""
    answer = mapping(answer)
    needs = answer.get("needs")
    workers = number(answer.get("workers"), "workers")
    if needs is None:
        return Demand(workers)
    if not isinstance(needs, list):
        raise BadAnswer("the scheduler's answer has needs of another form than its routes have")
    return Demand(workers, tuple(map(_need, needs[:MOST_NEEDS])))


def _need(entry: Any) -> Need:
    entry = mapping(entry)
    return Need(
        resources=_resources(entry.get("resources")),
        is_pinned=entry.get("pinned") is True,
        waiting=number(entry.get("waiting"), "waiting"),
        running=number(entry.get("running"), "running"),
        slots=number(entry.get("slots"), "slots"),
    )


def _resources(value: Any) -> dict[str, float]:
    """Read abstract resources: a few names with numbers."""
    found = mapping(value or {})
    return {str(name)[:63]: real(amount, "resources") for name, amount in islice(found.items(), MOST_NEEDS)}


def parse_live_workers(answer: Any) -> tuple[Worker, ...]:
    """Read the answer of the preload's ``workers``."""
    entries = mapping(mapping(answer).get("workers"))
    return tuple(_live_worker(str(address), mapping(entry)) for address, entry in entries.items())


def _live_worker(address: str, entry: Mapping[str, Any]) -> Worker:
    return Worker(
        address=address,
        host=_host(address),
        name=str(entry.get("name") or ""),
        status=str(entry.get("status") or "running"),
        executing=_known(entry, "processing"),
        keys=_known(entry, "keys"),
        nbytes=_known(entry, "nbytes"),
        can_drain=True,
        is_draining=entry.get("draining") is True,
        resources=_resources(entry.get("resources")),
    )


def parse_workers(answer: Any) -> tuple[Worker, ...]:
    """Read ``identity.json``."""
    entries = mapping(mapping(answer).get("workers"))
    return tuple(_worker(str(address), mapping(entry)) for address, entry in entries.items())


def _worker(address: str, entry: Mapping[str, Any]) -> Worker:
    metrics = mapping(entry.get("metrics") or {})
    counts = mapping(metrics.get("task_counts") or {})
    executing, keys = _known(metrics, "executing"), _known(metrics, "in_memory")  # until 2023.4
    if "task_counts" in metrics:
        executing = sum(number(counts.get(state, 0), state) for state in ("executing", "long-running"))
        keys = number(counts.get("memory", 0), "memory")
    return Worker(
        address=address,
        host=_host(address),
        name=str(entry.get("name") or entry.get("id") or ""),
        status=str(entry.get("status") or "running"),
        executing=executing,
        keys=keys,
        nbytes=_known(metrics, "managed_bytes"),
    )


def _known(metrics: Mapping[str, Any], what: str) -> int | None:
    """Return a number; None if the scheduler doesn't say, which is not 0."""
    return number(metrics[what], what) if metrics.get(what) is not None else None


def _host(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def parse_idle_for(answer: Any, now: float) -> float | None:
    """Read the answer of ``check_idle``, at a time in seconds since 1970."""
    since = mapping(answer).get("idle_since")
    if since is None:
        return None
    moment = real(since, "idle_since")
    if not 0 <= moment <= now + LARGEST_SKEW:
        raise BadAnswer("the scheduler's answer has an impossible idle_since")
    return max(0.0, now - moment)


def mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadAnswer("the scheduler's answer is not of the form that its routes have")
    return value


def real(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise BadAnswer(f"the scheduler's answer has a {what} that is no number")
    return value


def number(value: Any, what: str) -> int:
    try:
        return max(0, int(real(value, what)))
    except (ValueError, OverflowError) as error:
        raise BadAnswer(f"the scheduler's answer has a {what} that is no number") from error
