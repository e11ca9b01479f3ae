"""The part that DaskCluster and DaskWorkerGroup share: what a group of workers looks like."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from dask_k8s_models._kubernetes import PodSpec
from dask_k8s_models.base import RuledModel
from dask_k8s_models.resource import Metadata
from dask_k8s_models.scalars import INT_OR_STRING, Amount, Count, IntOrString, Workers

PERCENTAGE_PATTERN = "^(100|[1-9][0-9]?)%$"


def _check_number_or_percentage(value: int | str) -> int | str:
    is_percentage = isinstance(value, str) and value[-1:] == "%" and value[:-1].isdecimal()
    number = int(str(value).rstrip("%")) if is_percentage or isinstance(value, int) else 0
    if number < 1 or (is_percentage and (number > 100 or str(value).startswith("0"))):
        raise PydanticCustomError(
            "number_or_percentage", 'write a number of at least 1 or a percentage such as "25%"'
        )
    return value


NumberOrPercentage = Annotated[
    IntOrString,
    AfterValidator(_check_number_or_percentage),
    WithJsonSchema({**INT_OR_STRING, "minimum": 1, "pattern": PERCENTAGE_PATTERN}),
]


class RollingUpdate(RuledModel):
    """How fast a changed template reaches the workers."""

    maxUnavailable: Annotated[
        NumberOrPercentage,
        Field(
            description="How many workers may be missing during an update: a number, or a percentage of the "
            "replicas, rounded up."
        ),
    ] = "25%"


class UpdateStrategy(RuledModel):
    """How a changed template reaches the workers."""

    type: Annotated[
        Literal["RollingUpdate", "OnDelete"],
        Field(
            description="RollingUpdate retires and replaces workers step by step; OnDelete changes only "
            "those that are made later."
        ),
    ] = "RollingUpdate"
    rollingUpdate: Annotated[RollingUpdate | None, Field(description="The step size of RollingUpdate.")] = (
        None
    )


class DisruptionBudget(RuledModel):
    """How many workers may be evicted at the same time, as when nodes are drained."""

    maxUnavailable: Annotated[
        NumberOrPercentage, Field(description="Workers, or a percentage of the replicas.")
    ] = 1


class WorkerSpec(RuledModel):
    """A group of workers that are all alike."""

    replicas: Annotated[
        Workers,
        Field(
            description="How many workers to run, at most 10,000. Leave it out of manifests that are applied "
            "again and again where an autoscaler or `kubectl scale` decides."
        ),
    ] = 1
    metadata: Annotated[
        Metadata | None, Field(description="Labels and annotations of the group and its pods.")
    ] = None
    spec: Annotated[
        PodSpec,
        Field(
            description="The worker's pod. The container named worker, else the one whose command says so, "
            "runs it."
        ),
    ]
    updateStrategy: Annotated[
        UpdateStrategy | None, Field(description="How a changed pod spec reaches running workers.")
    ] = None
    drainTimeoutSeconds: Annotated[
        Count,
        Field(description="How long a worker that is to go may finish the tasks that it runs, in seconds."),
    ] = 60

    resources: Annotated[
        dict[str, Amount] | None,
        Field(
            description="Abstract resources that each worker offers, such as `GPU: 1`; tasks ask for them by "
            "`resources=`. An autoscaler starts a group for the tasks that need what it offers."
        ),
    ] = None

    disruptionBudget: Annotated[
        DisruptionBudget | None, Field(description="A PodDisruptionBudget: how many may be evicted at once.")
    ] = None

    def update_strategy(self) -> UpdateStrategy:
        """Return the update strategy with its defaults."""
        return self.updateStrategy or UpdateStrategy()

    def max_unavailable(self) -> int:
        """Return how many of the replicas may be missing during an update, at least 1."""
        share = (self.update_strategy().rollingUpdate or RollingUpdate()).maxUnavailable
        if isinstance(share, int):
            return share
        return max(1, math.ceil(self.replicas * int(share.rstrip("%")) / 100))
