"""Mixed workloads on groups of CPU, GPU and memory workers: by what tasks need, and by one number for all.

``python -m benchmarks.autoscaler_mixed`` simulates them in a minute; no Kubernetes and no Dask is run. Both
policies are the controller's own planners: one with the scheduler's route that tells what tasks need, the
other without it, as before there was one. Without it a group of GPUs at zero never comes for the tasks that
need it, so there it has a minimum of 1, as its users have to set; with the route it is tried with the same
minimum, and from zero.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from benchmarks.autoscaler_policies import Ours
from benchmarks.autoscaler_simulation import Cluster, Result
from benchmarks.autoscaler_workloads import Batch, Kind, Trace, drawn

GPU = {"GPU": 1.0}
MEMORY = {"MEMORY": 32e9}


def special_node(source: random.Random) -> float:
    """Seconds until a pod is a worker whose node has to be started first."""
    return source.uniform(60.0, 75.0)


def any_node(source: random.Random) -> float:
    """Seconds until a pod is a worker that finds room, or a node that starts soon."""
    return source.uniform(20.0, 30.0)


GROUPS = (
    Kind("default", maximum=1000, start_up=any_node),
    Kind("memory", 4.0, {"MEMORY": 64e9}, 1, 8, memory=64 * 10**9, start_up=special_node),
    Kind("gpu", 8.0, {"GPU": 1.0}, 1, 8, memory=16 * 10**9, start_up=special_node),
)
"""Prices are about in proportion to those of virtual machines with 2 CPUs, with 64 GB, and with a GPU."""


def from_zero(trace: Trace) -> Trace:
    return replace(trace, groups=tuple(replace(kind, minimum=0) for kind in trace.groups))


def traces(seed: int = 0) -> tuple[Trace, ...]:
    """The workloads; another seed draws other durations and start-up times."""
    numbers = iter(range(10_000))

    def batch(count: int, seconds: float, kind: str, pause: float = 0.0, **more: object) -> Batch:
        durations = drawn(
            1000 * seed + next(numbers), count, lambda source: source.lognormvariate(0.0, 0.5) * seconds
        )
        return Batch(durations, kind, pause, **more)  # type: ignore[arg-type]

    def mixed(name: str, *clients: Iterable[Batch]) -> Trace:
        return Trace(name, tuple(map(tuple, clients)), GROUPS, lead=150.0, seed=seed)

    def times(count: int, make: Callable[[], Batch]) -> list[Batch]:
        return [make() for _ in range(count)]

    return (
        mixed(
            "bursts",
            times(4, lambda: batch(200, 2.0, "burst", 200.0)),
            times(2, lambda: batch(24, 15.0, "train", 400.0, needs=GPU)),
        ),
        mixed(
            "sawtooth",
            times(8, lambda: batch(100, 1.5, "tooth", 60.0)),
            times(5, lambda: batch(10, 10.0, "train", 120.0, needs=GPU)),
            times(5, lambda: batch(10, 8.0, "join", 120.0, needs=MEMORY)),
        ),
        mixed(
            "long tails",
            [Batch(drawn(seed + n, 150, mostly_short), "tailed", 200.0, 10**6) for n in range(2)],
            times(2, lambda: batch(8, 60.0, "train", 200.0, needs=GPU)),
        ),
        mixed(
            "dependencies",
            [
                part
                for _ in range(3)
                for part in (
                    batch(120, 2.0, "load", nbytes=10**7, then=batch(120, 1.0, "infer", needs=GPU)),
                    batch(12, 6.0, "join", nbytes=10**8, needs=MEMORY),
                    batch(1, 20.0, "report", 60.0),
                )
            ],
        ),
        mixed(
            "a little GPU in long work",
            times(25, lambda: batch(200, 2.0, "work", 5.0)),
            [batch(10, 20.0, "train", needs=GPU)],
        ),
    )


def mostly_short(source: random.Random) -> float:
    return source.uniform(40.0, 120.0) if source.random() < 0.06 else source.uniform(1.0, 3.0)


POLICIES: Mapping[str, Callable[[Trace], Result]] = {
    "one number": lambda trace: Cluster(trace).run(Ours(knows_needs=False)),
    "by needs": lambda trace: Cluster(trace).run(Ours()),
    "from zero": lambda trace: Cluster(from_zero(trace)).run(Ours()),
}


def run_all(of: Iterable[Trace]) -> dict[str, dict[str, list[Result]]]:
    """Run each draw of each workload with each policy."""
    found: dict[str, dict[str, list[Result]]] = {}
    for trace in of:
        of_trace = found.setdefault(trace.name, {name: [] for name in POLICIES})
        for name, run in POLICIES.items():
            of_trace[name].append(run(trace))
    return found


def rows(results: Mapping[str, Mapping[str, Sequence[Result]]]) -> Iterator[str]:
    """Make the table: sums over all draws, and shares of what the policy with one number takes."""
    yield (
        f"{'trace':27}{'policy':12}{'time':>9}{'':>7}{'cost':>10}{'':>7}"
        f"{'changes':>9}{'reversals':>10}{'recomputed':>11}"
    )
    for trace, by_policy in results.items():
        base = by_policy["one number"]
        for name, found in by_policy.items():
            seconds, cost = sum(one.seconds for one in found), sum(one.cost for one in found)
            yield (
                f"{trace:27}{name:12}{seconds:8.0f}s{seconds / sum(one.seconds for one in base):7.3f}"
                f"{cost:10.0f}{cost / sum(one.cost for one in base):7.3f}"
                f"{sum(len(one) - 1 for result in found for one in result.changes):9}"
                f"{sum(one.reversals(15.0) for one in found):10}{sum(one.recomputed for one in found):11}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--draws", type=int, default=5, help="draws of each workload; the figures are sums")
    for row in rows(run_all(trace for seed in range(parser.parse_args().draws) for trace in traces(seed))):
        print(row)


if __name__ == "__main__":
    main()
