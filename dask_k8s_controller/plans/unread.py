"""Children that the controller may create and patch, not read, watch or delete. Pure.

They are applied when what should be there changes, when the controller starts, and every now and then. One
that is no longer wanted stays, lifted: it forbids nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dask_k8s_controller.plans.actions import ApplyUnread, Draft, Object
from dask_k8s_models.hashes import digest

HEAL_AFTER = 600.0
"""Seconds until a child is applied again, as somebody may have deleted it."""

Applied = tuple[str, float]
"""Digest of what was applied last, and when by the monotonic clock."""


@dataclass(frozen=True)
class Unread:
    """A child that is never read.

    Parameters
    ----------
    field : str
        Where the owner's status names the child, as long as it forbids anything.
    wanted : dict, optional
        The child as the user wants it; None for none.
    lifted : dict
        The child that forbids nothing.
    """

    field: str
    wanted: Object | None
    lifted: Object

    def desired(self, status: Mapping[str, Any]) -> Object | None:
        """Return the child as it is to be applied; None if there has never been one."""
        # It can't be deleted without the right to.
        return self.wanted or (self.lifted if status.get(self.field) else None)

    def plan(
        self, draft: Draft, status: Mapping[str, Any], applied: Applied | None, monotonic: float
    ) -> None:
        """Apply the child unless that has been done not long ago."""
        desired = self.desired(status)
        if desired is None:
            return
        age = monotonic - applied[1] if applied else 0.0
        if applied is None or applied[0] != digest(desired) or age >= HEAL_AFTER:
            draft.actions.append(ApplyUnread(desired))
        else:
            draft.requeue_after(HEAL_AFTER - age)

    def as_status(self, status: Mapping[str, Any], applied: Applied | None) -> dict[str, str]:
        """Return the child's name, by its field of the status, while it forbids anything; else nothing."""
        told = str(status.get(self.field) or "")
        if self.wanted:
            name = self.wanted["metadata"]["name"] if applied or told else ""
        else:
            name = "" if applied is not None and applied[0] == digest(self.lifted) else told
        return {self.field: name} if name else {}
