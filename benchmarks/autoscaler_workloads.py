"""What is simulated: clients that submit tasks, and the groups of workers that there are for them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Batch:
    """Tasks that a client submits together; it waits for their end, thinks, and goes on.

    Parameters
    ----------
    durations : tuple of float
        Seconds that each task takes.
    kind : str
        What the scheduler calls them: it estimates by kind.
    pause : float
        Seconds before the client's next batch.
    nbytes : int
        Size of each result. With a size, results are held until the next batch begins; without, the client
        takes them at once.
    needs : mapping
        What each task takes of a worker's abstract resources.
    then : Batch, optional
        As many tasks, each of which depends on one of these.
    """

    durations: tuple[float, ...]
    kind: str
    pause: float = 0.0
    nbytes: int = 0
    needs: Mapping[str, float] = field(default_factory=dict)
    then: Batch | None = None

    @property
    def stages(self) -> tuple[Batch, ...]:
        """This batch, and what depends on it."""
        return (self, *(self.then.stages if self.then else ()))


def some_need_a_node(source: random.Random) -> float:
    """Seconds until a pod is a worker: most find room at once, some wait for a node and its image."""
    return source.uniform(8.0, 15.0) if source.random() < 0.7 else source.uniform(30.0, 90.0)


@dataclass(frozen=True)
class Kind:
    """A group of workers, and the bounds that its user gives the autoscaler.

    Parameters
    ----------
    name : str
        The group's.
    price : float
        What a worker costs in a second.
    resources : mapping
        The abstract resources of each worker.
    start_up : callable
        Draws the seconds that a pod takes to become a worker.
    """

    name: str = "default"
    price: float = 1.0
    resources: Mapping[str, float] = field(default_factory=dict)
    minimum: int = 0
    maximum: int = 50
    threads: int = 2
    memory: int = 4 * 10**9
    start_up: Callable[[random.Random], float] = some_need_a_node


@dataclass(frozen=True)
class Trace:
    """A workload: what each of its clients does, and the groups of workers that there are.

    Its clients begin after ``lead`` seconds, when the minimum of workers is there.
    """

    name: str
    clients: tuple[tuple[Batch, ...], ...]
    groups: tuple[Kind, ...] = (Kind(),)
    lead: float = 0.0
    seed: int = 0

    @property
    def ideal(self) -> float:
        """Worker seconds that the tasks alone take, with all threads of a worker of the first group busy."""
        stages = (stage for client in self.clients for batch in client for stage in batch.stages)
        return sum(sum(stage.durations) for stage in stages) / self.groups[0].threads


def drawn(seed: int, count: int, draw: Callable[[random.Random], float]) -> tuple[float, ...]:
    """Draw durations; the same for the same seed."""
    source = random.Random(seed)
    return tuple(draw(source) for _ in range(count))


def repeated(batch: Callable[[int], Batch], count: int) -> Iterable[Batch]:
    """Make batches that differ in their number only."""
    return (batch(number) for number in range(count))
