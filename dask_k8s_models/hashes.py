"""What tells whether a pod was made from a spec: a hash of what the user wrote about it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from dask_k8s_models._kubernetes import PodSpec


def template_hash(pod_spec: PodSpec) -> str:
    """Condense what the user wrote about a pod.

    Fields that equal their default are left out, as the API server adds them by itself: a new default in a
    newer release must restart nothing.
    """
    written = pod_spec.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    return digest(written)


def digest(value: Mapping[str, Any]) -> str:
    """Condense JSON to 16 hexadecimal digits, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
