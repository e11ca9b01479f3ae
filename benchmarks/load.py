"""A cluster under load: results in its workers' memory, and tasks that run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from distributed import Client, Future, wait

from benchmarks.harness import Bench, Figure, Found, Stopwatch
from benchmarks.places import Place
from benchmarks.sides import Side, controller_in_pod
from dask_k8s_client import KubeCluster
from tests.harness.worker_tasks import sent_to

CLUSTER = "load"
RESULTS = 40
LIMIT = 180.0


@dataclass
class Load:
    """What the workers hold, and what they do."""

    place: Place
    client: Client
    results: list[Future]
    running: list[Future]

    def again(self) -> dict[str, float]:
        """Wait for all tasks, see that all results are right, and count what ran more than once."""
        assert sorted(self.client.gather(self.running)) == [*range(len(self.running))]
        assert sorted(number for number, _ in self.client.gather(self.results)) == [*range(RESULTS)]
        begun = Counter(message for _, message in self.client.get_events("begun"))

        def again(kind: str) -> int:
            return sum(count - 1 for name, count in begun.items() if name.startswith(kind))

        return {"results computed again": again("make"), "tasks that ran again": again("work")}


@contextmanager
def loaded(
    bench: Bench, side: Side, workers: int, *, tasks: int, seconds: float, nodes: int = 1
) -> Iterator[Load]:
    """Open a Kubernetes with a cluster that holds results, and runs so many tasks of so many seconds."""
    with bench.place(nodes=nodes) as place:
        place.apply(side.definitions())
        with controller_in_pod(side, place):
            place.kube.create(side.cluster(place, CLUSTER, workers), place.namespace)
            with (
                KubeCluster.from_name(
                    CLUSTER, namespace=place.namespace, kubeconfig=place.kubeconfig, quiet=True
                ) as cluster,
                Client(cluster) as client,
            ):
                client.wait_for_workers(workers, timeout=LIMIT)
                module: Any = sent_to(client)
                results = client.map(module.make, range(RESULTS), pure=False)
                wait(results, timeout=LIMIT)
                running = client.map(module.work, range(tasks), seconds=seconds, pure=False)
                _await_begun(client, tasks)
                yield Load(place, client, results, running)


def _await_begun(client: Client, number: int) -> None:
    watch = Stopwatch()
    while sum(message.startswith("work") for _, message in client.get_events("begun")) < number:
        if watch.seconds > LIMIT:
            raise TimeoutError("the tasks don't begin")


def figures(bench: Bench, what: str, measure: Callable[[Side], dict[str, float]]) -> Iterator[Found]:
    """Yield the seconds that something took under load, and what ran again, of both sides."""
    ours, *theirs = map(measure, bench.sides)
    for name, unit, goal in (
        (what, "s", None),
        ("results computed again", "", 0),
        ("tasks that ran again", "", 0),
    ):
        yield Figure(name, unit, [ours[name]], [one[name] for one in theirs], goal=goal)
