"""How many workers a group should have: the arithmetic of autoscaling.

Pure, and about numbers only: a plan gathers them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from dask_k8s_models.autoscaler import AutoscalerSpec


class Limit(Enum):
    """What keeps the number of workers from being what the demand asks for."""

    NONE = ""
    MINIMUM = "TooFewReplicas"
    MAXIMUM = "TooManyReplicas"
    SCALE_UP_STEP = "ScaleUpLimit"
    SCALE_DOWN_STEP = "ScaleDownLimit"
    BUSY = "WorkersBusy"
    RESULTS_HELD = "ResultsHeld"


@dataclass(frozen=True)
class Loss:
    """What a smaller number of workers would cost: the group's pods that are not to go."""

    unused: int = 0
    """Replicas that are no workers yet: nothing is lost with them."""
    busy: int = 0
    """Pods that run tasks of the group's own."""
    holding: int = 0
    """Pods that hold results which nobody else could."""


@dataclass(frozen=True)
class Step:
    """A number of replicas, and what kept it from being what is wanted."""

    replicas: int
    limit: Limit = Limit.NONE


def wanted(spec: AutoscalerSpec, replicas: int, grow_to: int, shrink_to: int) -> Step:
    """Say how many replicas are wanted, of which there are fewer or more, within the autoscaler's bounds."""
    asked_for = min(max(replicas, grow_to), shrink_to)
    if asked_for < spec.minimum:
        return Step(spec.minimum, Limit.MINIMUM)
    if spec.maximum is not None and asked_for > spec.maximum:
        return Step(spec.maximum, Limit.MAXIMUM)
    return Step(asked_for)


def grow(spec: AutoscalerSpec, replicas: int, want: int) -> Step:
    """Say how many replicas the next step up gives."""
    percent = spec.scale_up().maxPercent
    if percent is None:
        return Step(want)
    reach = max(replicas + _share(replicas, percent), spec.minimum)
    return Step(reach, Limit.SCALE_UP_STEP) if reach < want else Step(want)


def shrink(spec: AutoscalerSpec, replicas: int, want: int, loss: Loss, *, is_stepwise: bool = True) -> Step:
    """Say how many replicas the next step down leaves.

    What is no worker yet can go at once, it isn't one of the workers that shrink by steps. Pods that run
    tasks stay, and so do those whose results nobody else could hold, unless the maximum itself is lower.
    """
    highest = replicas if spec.maximum is None else min(replicas, spec.maximum)
    step = Step(want)
    workers = max(0, replicas - loss.unused)
    kept = workers - _share(workers, spec.scale_down().maxPercent) if workers and is_stepwise else 0
    for floor, limit in (
        (kept, Limit.SCALE_DOWN_STEP),
        (loss.busy, Limit.BUSY),
        (loss.holding, Limit.RESULTS_HELD),
    ):
        if step.replicas < floor:
            step = Step(floor, limit)
    return step if step.replicas <= highest else Step(highest, Limit.MAXIMUM)


def _share(number: int, percent: int) -> int:
    return max(1, number * percent // 100)
