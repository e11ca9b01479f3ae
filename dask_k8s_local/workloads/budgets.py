"""PodDisruptionBudgets: how many pods may be evicted right now.

https://kubernetes.io/docs/concepts/workloads/pods/disruptions/
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from dask_k8s_local.interfaces import Api, ApiError, Object
from dask_k8s_local.workloads.pods import is_ready
from dask_k8s_local.workloads.queue import Controller, Key, own_key
from dask_k8s_local.workloads.selectors import selector_text

BUDGETS = "poddisruptionbudgets.policy"


class BudgetController(Controller):
    """Writes the status of budgets."""

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self._known: set[Key] = set()

    def sources(self) -> Iterable[tuple[str, Callable[[Object], Iterable[Key]]]]:
        yield BUDGETS, self._budget_changed
        yield "pods", self._pod_changed

    def _budget_changed(self, budget: Object) -> Iterable[Key]:
        (key,) = own_key(budget)
        self._known.add(key)
        yield key

    def _pod_changed(self, pod: Object) -> Iterable[Key]:
        namespace = pod["metadata"]["namespace"]
        return [key for key in self._known if key[0] == namespace]

    async def reconcile(self, key: Key) -> float | None:
        try:
            budget = await self.api.get(BUDGETS, *key)
        except ApiError as error:
            if error.code != 404:
                raise
            self._known.discard(key)
            return None
        selector = (budget.get("spec") or {}).get("selector")
        pods = (
            await self.api.list("pods", key[0], label_selector=selector_text(selector))
            if selector is not None
            else []
        )
        status = budget_status(budget, pods)
        if status != budget.get("status"):
            await self.api.update(BUDGETS, key[0], {**budget, "status": status}, "status")
        return None


def budget_status(budget: Object, pods: list[Object]) -> Object:
    """Return the status that a budget has with these pods."""
    spec = budget.get("spec") or {}
    counted = [pod for pod in pods if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")]
    healthy = sum(is_ready(pod) and "deletionTimestamp" not in pod["metadata"] for pod in counted)
    expected = len(counted)
    if spec.get("maxUnavailable") is not None:
        desired = max(expected - _share(spec["maxUnavailable"], expected), 0)
    else:
        desired = _share(spec.get("minAvailable", 1), expected)
    return {
        "observedGeneration": budget["metadata"]["generation"],
        "disruptionsAllowed": max(healthy - desired, 0),
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "expectedPods": expected,
    }


def _share(value: Any, of: int) -> int:
    return value if isinstance(value, int) else math.ceil(of * int(str(value).rstrip("%")) / 100)
