"""Which group is to run which tasks: the cheapest that can. Pure, and about numbers only.

A group is cheaper if its autoscaler has a lower priority, among equals, if its workers have no GPUs, and
then if they offer fewer resources. What is beyond its maximum the next one gets. Tasks that any worker can
run go only to groups that offer nothing more than the cheapest: they never start GPUs while there is a group
without.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby

from dask_k8s_controller.scheduler.answers import Demand, Need
from dask_k8s_models.pods import GPUS

GPU_NAMES = frozenset({"gpu", "gpus", "cuda"})
"""What users call GPUs among a worker's resources, in any case."""

ROUNDING = 1e-6
"""Shares of a worker that are nothing but rounding."""


@dataclass(frozen=True)
class Group:
    """A group, as the autoscalers of its cluster see it: numbers of pods, and what a worker offers."""

    name: str
    resources: Mapping[str, float] = field(default_factory=dict)
    """What each worker offers; an amount of 0 is for tasks that ask for nothing but the name."""
    threads: int = 0
    """Of each worker; 0 if that isn't known."""
    has_devices: bool = False
    """Its pods have GPUs, whatever their workers call them."""
    priority: int = 0
    is_scaled: bool = True
    """It has an autoscaler, whose bounds and priority these are."""
    minimum: int = 0
    maximum: float = math.inf
    replicas: int = 0
    """Those that it should have by now."""
    ready: int = 0
    stuck: int = 0
    """Those that won't be ready soon."""
    per_pod: int = 1
    """Workers that run in each pod."""

    @cached_property
    def offers(self) -> frozenset[str]:
        """The names of what its workers have."""
        return frozenset(name for name, amount in self.resources.items() if amount > 0)

    @property
    def has_gpus(self) -> bool:
        """Its workers have GPUs, by their pods or by a name that says so."""
        return self.has_devices or any(
            name.lower() in GPU_NAMES or name.startswith(GPUS) for name in self.offers
        )

    @property
    def cost(self) -> tuple[int, bool, int, str]:
        """What groups are compared by."""
        return self.priority, self.has_gpus, len(self.offers), self.name

    @property
    def there(self) -> int:
        """Workers that are there."""
        return self.ready * self.per_pod

    @property
    def coming(self) -> int:
        """Workers that are there or about to be."""
        return max(self.ready, self.replicas - self.stuck) * self.per_pod

    @property
    def leaving(self) -> int:
        """Workers on their way out: they do their part until they go, and need no successor."""
        return max(0, self.ready - self.replicas) * self.per_pod

    @property
    def limit(self) -> float:
        """Workers that it can have."""
        return (self.maximum if self.is_scaled else self.replicas) * self.per_pod

    def lasting(self, needed: int) -> int:
        """Return how many workers stay though they get none of what any worker can run."""
        least = max(self.minimum * self.per_pod, needed) if self.is_scaled else self.coming
        return min(self.coming, least)

    def capacity(self, need: Need) -> int:
        """Return how many of the tasks a worker can run at a time; 0 if none."""
        if need.is_pinned or not all(
            amount <= self.resources.get(name, -math.inf) for name, amount in need.resources.items()
        ):
            return 0
        limits = [self.resources[name] / amount for name, amount in need.resources.items() if amount > 0]
        return int(min([*limits, self.threads or 10_000])) if limits or self.threads else 1


@dataclass(frozen=True)
class Share:
    """What one group is to do of a scheduler's demand, in workers.

    Workers of others that are about to be there keep it from growing, but let it shrink only when they are
    there: between ``grow_to`` and ``shrink_to`` nothing changes.
    """

    grow_to: int = 0
    shrink_to: int = 0
    own: int = 0
    """Workers for the tasks that it is the cheapest to run."""
    demand: int = 0
    """Workers that could be used for these and the rest."""
    others: int = 0
    """Workers that do a part of that, but won't last or are another group's."""
    needs: tuple[Need, ...] = ()
    """The tasks that it is the cheapest to run."""
    takes_the_rest: bool = False
    """Tasks that any worker can run are also its own."""


def shares(demand: Demand, groups: Iterable[Group]) -> dict[str, Share]:
    """Say what each of a cluster's groups is to do of a scheduler's demand, by its name."""
    ordered = sorted(groups, key=lambda group: group.cost)
    needs = _by_group(demand.needs or (), ordered)
    needed = {name: math.ceil(sum(workers for _, workers in took) - ROUNDING) for name, took in needs.items()}
    knows_needs = demand.needs is not None  # Else nothing tells groups apart.
    least = next((group for group in ordered if group.limit), ordered[0])
    takers = [
        group
        for group in ordered
        if not knows_needs or (group.offers <= least.offers and group.has_gpus <= least.has_gpus)
    ]
    dear = [group for group in ordered if group not in takers]
    grow, shrink = float(demand.for_tasks), float(demand.workers)
    for group in dear:
        # What it keeps beyond its own needs, as its minimum, helps with the rest.
        beyond = max(0, group.lasting(needed[group.name]) - needed[group.name])
        grow -= beyond
        shrink -= min(beyond, max(0, group.there - needed[group.name]))
    if demand.workers and any(g.there for g in dear) and not any(g.lasting(needed[g.name]) for g in dear):
        grow = max(grow, 1)  # They may hold results.
    rest: dict[str, tuple[float, float, int]] = {}
    for _, tier in groupby(takers, key=lambda group: group.cost[:-1] if knows_needs else ()):
        equals = list(tier)
        coming = {group.name: max(0, group.coming - needed[group.name]) for group in equals}
        there = {group.name: max(0, group.there - needed[group.name]) for group in equals}
        shrinks_to, given = _dealt(shrink, equals, there), 0.0
        for group in equals:
            others = sum(there.values()) - there[group.name]
            others_coming = sum(coming.values()) - coming[group.name]
            rest[group.name] = grow - others_coming - given, shrinks_to[group.name], others
            if knows_needs and not group.stuck:
                # The first that has room gets what is missing, so that not each of them does.
                missing = grow - sum(coming.values()) - given
                given += max(0.0, min(missing, group.limit - group.coming))
        grow = max(0.0, grow - sum(max(0.0, group.limit - needed[group.name]) for group in equals))
        shrink = max(0.0, shrink - sum(there.values()))
    found = {}
    for group in ordered:
        own, takes_the_rest = needed[group.name], group.name in rest
        more, fewer, others = rest.get(group.name, (0.0, 0.0, 0))
        found[group.name] = Share(
            max(0, own + math.ceil(more) - group.leaving),
            max(0, own + math.ceil(fewer) - group.leaving),
            own,
            own + takes_the_rest * demand.workers,
            others + group.leaving,
            tuple(need for need, _ in needs[group.name]),
            takes_the_rest,
        )
    return found


def _dealt(wanted: float, equals: Sequence[Group], there: Mapping[str, int]) -> dict[str, float]:
    """Say to how many each of some equal groups may shrink: the last one first.

    What one is told to give up the others don't count on, else they would all go because of each other.
    """
    found: dict[str, float] = {}
    staying = dict(there)
    for group in reversed(equals):
        found[group.name] = wanted - (sum(staying.values()) - staying[group.name])
        if group.is_scaled:
            least = max(found[group.name], group.minimum * group.per_pod)
            staying[group.name] = math.ceil(min(there[group.name], max(0.0, least)))
    return found


def unsatisfiable(demand: Demand, groups: Iterable[Group]) -> tuple[Need, ...]:
    """Return the needs of tasks that wait and that no group can ever meet."""
    able = [group for group in groups if group.limit or group.ready]
    return tuple(
        need
        for need in demand.needs or ()
        if need.waiting and not any(group.capacity(need) for group in able)
    )


def _by_group(needs: Iterable[Need], ordered: Sequence[Group]) -> dict[str, list[tuple[Need, float]]]:
    """Say how many workers of each group the needs take: of the cheapest that can, then of the next."""
    found: dict[str, list[tuple[Need, float]]] = {group.name: [] for group in ordered}
    room = {group.name: group.limit for group in ordered}
    for need in needs:
        able = [group for group in ordered if group.limit and group.capacity(need)]
        left = float(need.at_a_time)
        taken: dict[str, float] = {}
        for group in able:
            capacity = group.capacity(need)
            workers = min(left / capacity, room[group.name])
            left = max(0.0, left - workers * capacity)
            room[group.name] -= workers
            taken[group.name] = workers
        if able:
            # What is beyond all limits stays with the cheapest, which tells that it is limited.
            taken[able[0].name] += left / able[0].capacity(need)
        for name, workers in taken.items():
            if workers > ROUNDING:
                found[name].append((need, workers))
    return found
