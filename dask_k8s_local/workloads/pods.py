"""What the controllers ask about pods."""

from __future__ import annotations

import time
from datetime import datetime

from dask_k8s_local.interfaces import Object


def is_active(pod: Object) -> bool:
    """Tell whether a pod counts: it isn't over and isn't going."""
    phase = (pod.get("status") or {}).get("phase")
    return phase not in ("Succeeded", "Failed") and "deletionTimestamp" not in pod["metadata"]


def _ready_condition(pod: Object) -> Object | None:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return next((one for one in conditions if one["type"] == "Ready" and one["status"] == "True"), None)


def is_ready(pod: Object) -> bool:
    return _ready_condition(pod) is not None


def ready_since(pod: Object) -> float:
    """Return when a pod became ready, in seconds since 1970; never is now."""
    condition = _ready_condition(pod)
    since = condition.get("lastTransitionTime") if condition else None
    return datetime.fromisoformat(since.replace("Z", "+00:00")).timestamp() if since else time.time()


def is_available(pod: Object, min_ready_seconds: int) -> bool:
    """Tell whether a pod has been ready for long enough."""
    return is_ready(pod) and (not min_ready_seconds or time.time() - ready_since(pod) >= min_ready_seconds)
