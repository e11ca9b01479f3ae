"""Children that the controller may create and patch, not read, watch or delete. Pure.

They are applied when what should be there changes, when the controller starts, and every now and then. One
that is no longer wanted stays, lifted: it selects no pod. Did it select them and allow everything, it would
overrule the policies of others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dask_k8s_controller.cache.custom import Custom
from dask_k8s_controller.plans.actions import ApplyUnread, Object
from dask_k8s_controller.plans.ownership import child
from dask_k8s_controller.plans.plan import Observed, Plan
from dask_k8s_models import labels
from dask_k8s_models.hashes import digest

HEAL_AFTER = 600.0
"""Seconds until a child is applied again, as somebody may have deleted it."""

NO_POD = {
    "matchExpressions": [{"key": labels.CLUSTER_NAME, "operator": one} for one in ("Exists", "DoesNotExist")]
}
"""A selector that no pod matches: an empty one would match all."""


@dataclass(frozen=True)
class Unread:
    """A child that is never read."""

    field: str
    """Where the owner's status names the child, as long as it forbids anything."""
    wanted: Object | None
    """The child as the user wants it; None for none."""
    lifted: Object
    """The child that selects no pod."""

    def plan(self, draft: Plan[Any]) -> None:
        """Apply the child unless that has been done not long ago, or there has never been one."""
        # It can't be deleted without the right to.
        desired = self.wanted or (self.lifted if draft.observed.subject.status.get(self.field) else None)
        if desired is None:
            return
        applied = draft.observed.applied.get(desired["kind"])
        age = draft.observed.monotonic - applied[1] if applied else 0.0
        if applied is None or applied[0] != digest(desired) or age >= HEAL_AFTER:
            draft.actions.append(ApplyUnread(desired))
        else:
            draft.requeue_after(HEAL_AFTER - age)

    def as_status(self, observed: Observed[Any]) -> dict[str, str]:
        """Return the child's name, by its field of the status, while it forbids anything; else nothing."""
        applied = observed.applied.get(self.lifted["kind"])
        told = str(observed.subject.status.get(self.field) or "")
        if self.wanted:
            name = self.wanted["metadata"]["name"] if applied or told else ""
        else:
            name = "" if applied is not None and applied[0] == digest(self.lifted) else told
        return {self.field: name} if name else {}


def disruption_budget(owner: Custom[Any], name: str, pods: Mapping[str, str], spec: Object | None) -> Unread:
    """Return the PodDisruptionBudget of pods with these labels; a spec of None if none is wanted.

    https://kubernetes.io/docs/tasks/run-application/configure-pdb/
    """
    base = {key: value for key, value in pods.items() if key != labels.COMPONENT}
    metadata = {"labels": labels.merged(owner.meta.labels, None, base)}

    def budget(selector: Object, allowed: Object) -> Object:
        spec = {"selector": selector, **allowed}
        return child(owner, "policy/v1", "PodDisruptionBudget", name, metadata, spec=spec)

    wanted = None if spec is None else budget({"matchLabels": dict(pods)}, spec)
    return Unread("disruptionBudgetName", wanted, budget(NO_POD, {"minAvailable": 0}))
