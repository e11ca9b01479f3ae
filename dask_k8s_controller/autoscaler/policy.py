"""How many workers a group should have: the arithmetic of autoscaling.

Pure, and about numbers only: a plan gathers them.
"""

from __future__ import annotations

import math
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
class Load:
    """What there is to do, and who is there to do it.

    Parameters
    ----------
    demand : int
        How many workers the scheduler could use, whatever group they are of.
    replicas : int
        How many pods the group should have by now.
    others_coming : int
        Workers of the cluster's other groups: those that are there and those that are about to be.
    others_there : int
        Those of them that are there.
    workers_per_pod : int
        Workers that run in each of the group's pods.
    """

    demand: int
    replicas: int
    others_coming: int = 0
    others_there: int = 0
    workers_per_pod: int = 1


@dataclass(frozen=True)
class Loss:
    """What a smaller number of workers would cost.

    Parameters
    ----------
    unused : int
        The group's replicas that are no workers yet: nothing is lost with them.
    busy : int
        The group's pods that run tasks.
    holds_all_results : bool
        Results are in memory, and nobody but this group's pods could hold them.
    """

    unused: int = 0
    busy: int = 0
    holds_all_results: bool = False


@dataclass(frozen=True)
class Step:
    """A number of replicas, and what kept it from being what is wanted."""

    replicas: int
    limit: Limit = Limit.NONE


def wanted(spec: AutoscalerSpec, load: Load) -> Step:
    """Say how many replicas the demand asks for, within the autoscaler's bounds.

    Other groups' workers that are about to be there keep this group from growing, but let it shrink only when
    they are there. So the two numbers leave room in which nothing changes.
    """
    to_grow_to = math.ceil((load.demand - load.others_coming) / load.workers_per_pod)
    to_shrink_to = math.ceil((load.demand - load.others_there) / load.workers_per_pod)
    asked_for = min(max(load.replicas, to_grow_to), max(0, to_shrink_to))
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


def shrink(spec: AutoscalerSpec, replicas: int, want: int, loss: Loss) -> Step:
    """Say how many replicas the next step down leaves.

    What is no worker yet can go at once, it isn't one of the workers that shrink by steps. Pods that run
    tasks stay, and so does the last one if results are held, unless the maximum itself is lower.
    """
    highest = replicas if spec.maximum is None else min(replicas, spec.maximum)
    step = Step(want)
    workers = max(0, replicas - loss.unused)
    kept = workers - _share(workers, spec.scale_down().maxPercent) if workers else 0
    for floor, limit in (
        (kept, Limit.SCALE_DOWN_STEP),
        (loss.busy, Limit.BUSY),
        (1 if loss.holds_all_results else 0, Limit.RESULTS_HELD),
    ):
        if step.replicas < floor:
            step = Step(floor, limit)
    return step if step.replicas <= highest else Step(highest, Limit.MAXIMUM)


def _share(number: int, percent: int) -> int:
    return max(1, number * percent // 100)
