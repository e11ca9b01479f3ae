"""How long ago, as kubectl writes it; and since when."""

from __future__ import annotations

from datetime import UTC, datetime


def parse(text: str | None) -> datetime | None:
    """Read a time as Kubernetes writes it."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None


def span(seconds: float) -> str:
    """Write a span of time as kubectl does."""
    whole = max(int(seconds), 0)
    for size, letter in ((86400, "d"), (3600, "h"), (60, "m")):
        if whole >= 2 * size:
            return f"{whole // size}{letter}"
    return f"{whole}s"


def age(since: datetime | None, now: datetime | None = None) -> str:
    """Write how long ago something was, nothing if that isn't known."""
    return "" if since is None else span(((now or datetime.now(UTC)) - since).total_seconds())


def clock(since: datetime | None, now: datetime | None = None) -> str:
    """Write since when something is so, by this machine's clock; nothing if that isn't known."""
    if since is None:
        return ""
    local, today = since.astimezone(), (now or datetime.now(UTC)).astimezone().date()
    return local.strftime("since %H:%M:%S %Z" if local.date() == today else "since %Y-%m-%d %H:%M %Z")
