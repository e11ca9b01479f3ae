"""Scaling down while tasks run and results are in memory: what is lost, and what runs twice."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from benchmarks.harness import Bench, Found, Stopwatch, benchmark
from benchmarks.load import CLUSTER, LIMIT, figures, loaded
from benchmarks.sides import GROUPS, Side

SECONDS = "seconds until one worker is left"


@benchmark("busy", "4 → 1 workers with 40 results in memory and 2 tasks of 4 s running")
def busy(bench: Bench) -> Iterator[Found]:
    """Count executions and results; the tasks themselves take 4 s."""
    yield from figures(bench, SECONDS, partial(_shrink, bench))


def _shrink(bench: Bench, side: Side) -> dict[str, float]:
    with loaded(bench, side, 4, tasks=2, seconds=4) as load:
        kube, namespace = load.place.kube, load.place.namespace
        scale: dict[str, Any] = {"spec": {"replicas": 1}}
        watch = Stopwatch()
        kube.patch(GROUPS, f"{CLUSTER}-default", scale, namespace, subresource="scale")
        kube.wait_all(
            "pods",
            namespace,
            until=lambda pods: len(pods) == 1,
            timeout=LIMIT,
            labelSelector="dask.org/component=worker",
        )
        seconds = watch.seconds
        return {SECONDS: seconds, **load.again()}
