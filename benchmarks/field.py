"""An operator at work where pods run nothing, and what it takes it to start many clusters there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.following import Following, Pods
from benchmarks.harness import Stopwatch
from benchmarks.places import Place
from benchmarks.schedulers import Schedulers
from benchmarks.sides import CLUSTERS, Controller, Side, Spent, controller
from tests.harness.kube import Object

LIMIT = 300.0
GRACE = 5.0
"""Seconds after the last pod became ready in which clusters may still become Running."""


@dataclass
class Field:
    """A side's controller at work on a Kubernetes whose pods run nothing."""

    side: Side
    place: Place
    controller: Controller
    pods: Pods
    clusters: Following[bool]

    def manifests(self, number: int, workers: int, prefix: str) -> list[Object]:
        return [self.side.cluster(self.place, f"{prefix}-{one}", workers) for one in range(number)]


@contextmanager
def a_field(
    side: Side, kubernetes: AbstractContextManager[Place], profile: Path | None = None
) -> Iterator[Field]:
    """Put a side's controller to work on a Kubernetes whose pods run nothing."""
    with kubernetes as place:
        place.apply(side.definitions())
        with (
            Pods(place.kube, place.namespace) as seen,
            Schedulers(seen) as schedulers,
            controller(side, place, schedulers.address, profile) as process,
            Following(place.kube, CLUSTERS, place.namespace, side.is_running) as clusters,
        ):
            yield Field(side, place, process, seen, clusters)


@dataclass
class Started:
    """What it took to start clusters at once.

    Attributes
    ----------
    pods, running : float
        Seconds until every pod was ready, and until every cluster was running as its operator says.
    stuck : int
        Clusters that were not running in the end.
    """

    pods: float = 0.0
    running: float = 0.0
    stuck: int = 0
    spent: Spent = field(default_factory=Spent)


def start(here: Field, manifests: list[Object], workers: int) -> Started:
    """Create these clusters, of so many workers together, and wait until they are there."""
    before = sum(pod["is_ready"] for pod in here.pods.found.values())
    wanted = before + len(manifests) + workers
    names = {manifest["metadata"]["name"] for manifest in manifests}
    found = Started()
    with here.controller.spent() as found.spent:
        watch = Stopwatch()
        for manifest in manifests:
            here.place.kube.create(manifest, here.place.namespace)
        if not here.pods.until(lambda all_: sum(pod["is_ready"] for pod in all_.values()) >= wanted, LIMIT):
            raise TimeoutError(f"{here.side.name}: not {wanted} ready pods after {LIMIT:g} s")
        found.pods = watch.seconds
        here.clusters.until(lambda all_: all(all_.get(name) for name in names), GRACE)
        found.running = watch.seconds
        found.stuck = sum(not here.clusters.found.get(name) for name in names)
    return found
