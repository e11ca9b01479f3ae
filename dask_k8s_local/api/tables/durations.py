"""How long ago something was, as kubectl writes it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any


def age(since: Any, until: datetime | None = None) -> str:
    """Return how long ago a time was, as kubectl writes it."""
    if not since:
        return "<unknown>"
    try:
        then = datetime.fromisoformat(str(since).replace("Z", "+00:00"))
    except ValueError:
        return "<invalid>"
    return duration(((until or datetime.now(UTC)) - then).total_seconds())


def duration(total: float) -> str:
    """https://pkg.go.dev/k8s.io/apimachinery/pkg/util/duration#HumanDuration"""
    seconds = int(total)
    if seconds < -1:
        return "<invalid>"
    seconds = max(seconds, 0)
    if seconds < 120:
        return f"{seconds}s"
    minutes = seconds // 60
    if minutes < 10:
        rest = seconds % 60
        return f"{minutes}m{rest}s" if rest else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours = minutes // 60
    if hours < 8:
        rest = minutes % 60
        return f"{hours}h{rest}m" if rest else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if hours < 192:
        rest = hours % 24
        return f"{days}d{rest}h" if rest else f"{days}d"
    if days < 365 * 2:
        return f"{days}d"
    years, rest = divmod(days, 365)
    return f"{years}y{rest}d" if rest and years < 8 else f"{years}y"
