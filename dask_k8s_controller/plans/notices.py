"""What is worth a Kubernetes Event: a state that changes for better or worse, never a timer. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Notice:
    """What an Event says."""

    reason: str
    message: str
    is_warning: bool = False


def changes(previous: Mapping[str, Any], present: Mapping[str, Any], *warnings: str) -> list[Notice]:
    """Find what is worth an Event in the step from one status to the next.

    Conditions of the types ``warnings`` warn of something when they become true.
    """
    before, now = _conditions(previous), _conditions(present)
    found = [
        Notice(now[name]["reason"], now[name]["message"], is_warning=True)
        for name in ("Stalled", *warnings)
        if _turned(before, now, name, "True")
    ]
    if _turned(before, now, "Ready", "True"):
        found.append(Notice("Ready", now["Ready"]["message"]))
    elif before.get("Ready", {}).get("status") == "True" and _turned(before, now, "Ready", "False"):
        ready = now["Ready"]
        if ready["reason"] not in {notice.reason for notice in found}:
            found.append(Notice(ready["reason"], ready["message"], is_warning=ready["reason"] != "Suspended"))
    return found


def _conditions(status: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {item["type"]: item for item in status.get("conditions") or ()}


def _turned(
    before: Mapping[str, Mapping[str, Any]], now: Mapping[str, Mapping[str, Any]], name: str, status: str
) -> bool:
    return now.get(name, {}).get("status") == status != before.get(name, {}).get("status")
