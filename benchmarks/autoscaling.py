"""Autoscaling simulated: the planners of autoscalers and groups beside what dask-kubernetes does."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.autoscaler_traces import run_all
from benchmarks.harness import Bench, Figure, Found, benchmark


@benchmark("autoscaling", "autoscaling of simulated workloads: nothing runs, and the clock is simulated")
def autoscaling(bench: Bench) -> Iterator[Found]:
    """Sum over all traces."""
    pairs = [pair for of_trace in run_all(bench.few(2)).values() for pair in of_trace]
    for what, unit, name in (
        ("seconds until all work is done", "s", "seconds"),
        ("seconds of workers", "s", "worker_seconds"),
        ("tasks done twice", "", "recomputed"),
    ):
        ours, theirs = (float(sum(getattr(pair[who], name) for pair in pairs)) for who in (0, 1))
        yield Figure(what, unit, [ours], [theirs])
