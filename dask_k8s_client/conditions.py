"""What the controller says about its objects, in their conditions. Pure functions."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def why_not_ready(resource: Json) -> str:
    """Return the controller's reason why an object isn't as it should be; empty if it gives none."""
    conditions = (resource.get("status") or {}).get("conditions") or []
    for kind in ("Stalled", "Ready", "SchedulerReady"):
        for condition in conditions:
            is_bad = condition.get("status") == ("True" if kind == "Stalled" else "False")
            if condition.get("type") == kind and is_bad and condition.get("message"):
                return f"{condition.get('reason')}: {condition['message']}"
    return ""
