"""Workloads that try an autoscaler, and a table: this project's planners beside dask-kubernetes' policy.

``python -m benchmarks.autoscaler_traces`` simulates them all in seconds; no Kubernetes and no Dask is run.
Start-up times are random, so that sums of few draws differ by some percent. Where work comes back after about
a minute, dask-kubernetes finishes up to 1 % sooner: it still has idle workers then, for 15 to 20 % more.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from benchmarks.autoscaler_policies import DaskKubernetes, Ours
from benchmarks.autoscaler_simulation import Cluster, Result
from benchmarks.autoscaler_workloads import Batch, Kind, Trace, drawn, repeated

WINDOW = 15.0
"""Seconds: the default of stabilizationWindowSeconds."""


def around(seconds: float) -> Callable[[random.Random], float]:
    return lambda source: source.lognormvariate(0.0, 0.5) * seconds


def mostly_short(source: random.Random) -> float:
    return source.uniform(40.0, 120.0) if source.random() < 0.06 else source.uniform(1.0, 3.0)


def traces(seed: int = 0) -> tuple[Trace, ...]:
    """The workloads; another seed draws other durations and start-up times."""

    def batch(count: int, seconds: float, pause: float, kind: str = "", nbytes: int = 0) -> Batch:
        number = next(numbers)
        durations = drawn(1000 * seed + number, count, around(seconds))
        return Batch(durations, kind or f"kind-{number}", pause, nbytes)

    def alone(name: str, batches: Iterable[Batch], minimum: int = 0) -> Trace:
        return Trace(name, (tuple(batches),), (Kind(minimum=minimum),), seed=seed)

    numbers = iter(range(10_000))
    return (
        alone("bursts", repeated(lambda _: batch(600, 2.0, 300.0, "burst"), 3)),
        alone("bursts of new kinds", repeated(lambda _: batch(2000, 0.05, 300.0), 3)),
        alone(
            "long tails",
            repeated(lambda n: Batch(drawn(seed + n, 300, mostly_short), "tailed", 300.0, 10**6), 2),
        ),
        alone("sawtooth 10 s", repeated(lambda _: batch(200, 1.5, 10.0, "tooth"), 12)),
        alone("sawtooth 25 s", repeated(lambda _: batch(200, 1.5, 25.0, "tooth"), 12)),
        alone("sawtooth 60 s", repeated(lambda _: batch(200, 1.5, 60.0, "tooth"), 8)),
        alone(
            "map and reduce",
            (
                part
                for _ in range(4)
                for part in (
                    batch(400, 1.0, 0.0, "map", 10**7),
                    batch(20, 4.0, 0.0, "reduce"),
                    batch(1, 20.0, 5.0, "report"),
                )
            ),
            minimum=1,
        ),
    )


Pair = tuple[Result, Result]
"""A trace with this project's planners, and with dask-kubernetes' policy."""


def run(trace: Trace, *, heartbeats: bool = False) -> Pair:
    """Run a trace with both policies."""
    ours = Cluster(trace, heartbeats=heartbeats).run(Ours())
    return ours, Cluster(trace, heartbeats=heartbeats).run(DaskKubernetes())


def run_all(seeds: int) -> dict[str, list[Pair]]:
    """Run so many draws of each workload."""
    found: dict[str, list[Pair]] = {}
    for seed in range(seeds):
        for trace in traces(seed):
            found.setdefault(trace.name, []).append(run(trace))
    return found


def rows(results: Mapping[str, Sequence[Pair]]) -> Iterator[str]:
    """Make the table, with the sums over all draws of each workload, and over all workloads."""
    yield (
        f"{'trace':22}{'policy':17}{'time to finish':>15}{'worker-seconds':>15}{'of the ideal':>13}"
        f"{'changes':>9}{'reversals':>10}{'recomputed':>11}{'seconds lost':>13}"
    )
    everything = [pair for pairs in results.values() for pair in pairs]
    for trace, pairs in {**results, "all": everything}.items():
        for name, of_policy in zip((Ours.name, DaskKubernetes.name), zip(*pairs, strict=True), strict=True):
            used = sum(result.worker_seconds for result in of_policy)
            yield (
                f"{trace:22}{name:17}"
                f"{sum(result.seconds for result in of_policy):14.0f}s"
                f"{used:15.0f}"
                f"{used / sum(result.ideal for result in of_policy):12.2f}x"
                f"{sum(len(one) - 1 for result in of_policy for one in result.changes):9}"
                f"{sum(result.reversals(WINDOW) for result in of_policy):10}"
                f"{sum(result.recomputed for result in of_policy):11}"
                f"{sum(sum(result.thrown_away) for result in of_policy):13.1f}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=5, help="draws of each workload; the figures are sums")
    for row in rows(run_all(parser.parse_args().seeds)):
        print(row)


if __name__ == "__main__":
    main()
