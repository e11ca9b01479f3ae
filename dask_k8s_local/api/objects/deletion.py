"""How objects go: at once, after a grace period, or when their finalizers are done.

https://kubernetes.io/docs/concepts/overview/working-with-objects/finalizers/
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from dask_k8s_local.api.meta import metadata
from dask_k8s_local.interfaces import Object

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"


def finalizers_for(finalizers: list[str], policy: str | None) -> list[str]:
    """Return the finalizers that a propagation policy leaves or asks for."""
    if policy is None:
        return finalizers
    kept = [one for one in finalizers if one not in (ORPHAN, FOREGROUND)]
    if policy == "Orphan":
        return [*kept, ORPHAN]
    if policy == "Foreground":
        return [*kept, FOREGROUND]
    return kept


def being_deleted(old: Object, grace: int, finalizers: list[str], *, has_generation: bool) -> Object | None:
    """Return the object with its deletion noted, None if there is nothing new to note."""
    own = dict(old["metadata"])
    if "deletionTimestamp" in own:
        current = own.get("deletionGracePeriodSeconds", 0)
        grace = min(grace, current)  # A period can only be shortened.
        if (grace, finalizers) == (current, own.get("finalizers") or []):
            return None
        asked = datetime.fromisoformat(own["deletionTimestamp"]) - timedelta(seconds=current)
    else:
        asked = datetime.now(UTC)
        if has_generation and own.get("generation"):
            own["generation"] += 1
    own["deletionTimestamp"] = metadata.timestamp(asked + timedelta(seconds=grace))
    own["deletionGracePeriodSeconds"] = grace
    own.pop("finalizers", None)
    if finalizers:
        own["finalizers"] = finalizers
    return {**old, "metadata": own}


def waits_for_nobody(body: Object) -> bool:
    """Tell whether an object that is being deleted can go now."""
    own = body["metadata"]
    waits = own.get("finalizers") or own.get("deletionGracePeriodSeconds")
    return bool(own.get("deletionTimestamp")) and not waits
