"""Which group is to run which tasks: the cheapest that can. Pure.

A group is cheaper if its autoscaler has a lower priority and, among equals, if its workers offer fewer
resources. So tasks that any worker can run never start a group of GPUs while there is a group without.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dask_k8s_controller.scheduler.answers import Demand, Need


@dataclass(frozen=True)
class Offer:
    """What a group's workers can do.

    Parameters
    ----------
    group : str
        The group's name.
    resources : mapping
        The abstract resources of each of its workers.
    priority : int
        That of its autoscaler.
    can_grow : bool
        It has an autoscaler, or has workers.
    """

    group: str
    resources: Mapping[str, float] = field(default_factory=dict)
    priority: int = 0
    can_grow: bool = True

    @property
    def cost(self) -> tuple[int, int, str]:
        """What groups are compared by."""
        return self.priority, len(self.resources), self.group

    def capacity(self, need: Need) -> int:
        """Return how many of the tasks a worker can run at a time, as far as resources decide; 0 if none."""
        if need.is_pinned:
            return 0
        shares = [
            self.resources.get(name, 0) / amount for name, amount in need.resources.items() if amount > 0
        ]
        least = min(shares, default=1.0)
        return int(min(least, 10_000)) if math.isfinite(least) else 0


@dataclass(frozen=True)
class Assignment:
    """What one group is to do.

    Parameters
    ----------
    workers : int
        Workers that it should have for its own needs.
    needs : tuple of Need
        The tasks that it is the cheapest to run.
    takes_the_rest : bool
        Tasks that any worker can run are also its own.
    """

    workers: int = 0
    needs: tuple[Need, ...] = ()
    takes_the_rest: bool = True


def assignment(demand: Demand, group: str, offers: Sequence[Offer]) -> Assignment:
    """Say what a group is to do of a scheduler's demand.

    Parameters
    ----------
    demand : Demand
        What the scheduler could use.
    group : str
        The group's name.
    offers : sequence of Offer
        What all groups of the cluster offer, this one too.
    """
    own = next(offer for offer in offers if offer.group == group)
    mine = tuple(need for need in demand.needs or () if _cheapest(need, offers) is own)
    workers = sum(math.ceil(need.slots / own.capacity(need)) for need in mine)
    plain = [offer for offer in offers if offer.can_grow or offer is own]
    # Several groups that cost the same share what any worker can do, as if there were no needs at all.
    least = min(offer.cost[:2] for offer in plain)
    return Assignment(workers, mine, takes_the_rest=own.cost[:2] == least)


def unsatisfiable(demand: Demand, offers: Iterable[Offer]) -> list[Need]:
    """Return the needs of tasks that wait and that no group can ever meet."""
    offers = list(offers)
    return [
        need
        for need in demand.needs or ()
        if need.waiting and (need.is_pinned or not any(offer.capacity(need) for offer in offers))
    ]


def _cheapest(need: Need, offers: Sequence[Offer]) -> Offer | None:
    able = [offer for offer in offers if offer.can_grow and offer.capacity(need)]
    return min(able, key=lambda offer: offer.cost, default=None)
