"""Conditions of a status, as kstatus reads them, so that Flux and Argo CD know when things are ready.

Pure: no kopf, no HTTP. https://github.com/kubernetes-sigs/cli-utils/tree/master/pkg/kstatus
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dask_k8s_controller.plans.actions import Remark
from dask_k8s_controller.plans.plan import Observed
from dask_k8s_models.scalars import to_time

Status = dict[str, Any]

LONGEST_MESSAGE = 1024


@dataclass(frozen=True)
class Condition:
    """One aspect of an object's state, and why it is so."""

    type: str
    holds: bool
    reason: str
    message: str = ""


def stated(observed: Observed[Any], conditions: Iterable[Condition]) -> Status:
    """Return what all statuses begin with: the generation that they speak about, and the conditions.

    A condition that stays as it was keeps the time of its last transition; of other types they stay.
    """
    meta = observed.subject.meta
    before = {item["type"]: item for item in observed.subject.status.get("conditions") or ()}
    result = []
    for condition in conditions:
        status = "True" if condition.holds else "False"
        old = before.pop(condition.type, {})
        unchanged = old.get("status") == status and old.get("lastTransitionTime")
        result.append(
            {
                "type": condition.type,
                "status": status,
                "observedGeneration": meta.generation,
                "lastTransitionTime": old["lastTransitionTime"] if unchanged else to_time(observed.now),
                "reason": condition.reason,
                "message": condition.message[:LONGEST_MESSAGE],
            }
        )
    return {"observedGeneration": meta.generation, "conditions": result + list(before.values())}


def first_status(observed: Observed[Any], field: str, noted: Remark) -> Status | None:
    """Return the status to write before anything is made, as it tells that a controller acts; None if it was.

    The reason of what is ``noted`` is the first word of the ``field`` that says how far the object has come.
    """
    if observed.subject.status.get(field):
        return None
    return {field: noted.reason, **stated(observed, summary(False, (), noted))}


def holds(previous: Mapping[str, Any], condition_type: str, generation: int) -> bool:
    """Whether the status so far says that a condition holds for that generation."""
    return any(
        item["type"] == condition_type
        and item["status"] == "True"
        and item.get("observedGeneration") == generation
        for item in previous.get("conditions") or ()
    )


def summary(
    is_ready: bool, remarks: Sequence[Remark], waiting_for: Remark | Condition
) -> tuple[Condition, ...]:
    """Sum up as Ready, Reconciling and Stalled, by the remarks, or what is waited for if there are none."""
    stalled = [remark for remark in remarks if remark.needs_a_person]
    why = (*stalled, *remarks, waiting_for)[0]
    message = _joined(remarks) or why.message
    if is_ready and not stalled:
        ready = Condition("Ready", True, "Ready", message if remarks else "All is as it should be.")
    else:
        ready = Condition("Ready", False, why.reason, message)
    reconciling = Condition("Reconciling", False, "NotReconciling")
    if stalled:
        return ready, reconciling, Condition("Stalled", True, why.reason, _joined(stalled))
    if not is_ready or remarks:
        reconciling = Condition("Reconciling", True, why.reason, message)
    return ready, reconciling, Condition("Stalled", False, "NotStalled")


def _joined(remarks: Iterable[Remark]) -> str:
    return " ".join(dict.fromkeys(remark.message for remark in remarks if remark.message))


WAITING = "WorkersNotReady"
"""The reason while nothing but time is missing."""
