"""Whole workloads, simulated: the planners of autoscalers and groups beside what dask-kubernetes does."""

from __future__ import annotations

import pytest

from benchmarks.autoscaler_policies import Ours
from benchmarks.autoscaler_simulation import Cluster
from benchmarks.autoscaler_traces import WINDOW, Pair, rows, run_all, traces

DRAWS = 2
FAMILIES = ("bursts", "long tails", "sawtooth", "map and reduce")


@pytest.fixture(scope="module")
def by_trace() -> dict[str, list[Pair]]:
    return run_all(DRAWS)


@pytest.fixture(scope="module")
def results(by_trace: dict[str, list[Pair]]) -> dict[str, list[Pair]]:
    """Of each family of traces, each time it is drawn: ours and dask-kubernetes'."""
    return {
        family: [pair for name, pairs in by_trace.items() if name.startswith(family) for pair in pairs]
        for family in FAMILIES
    }


def ratio(pairs: list[Pair], what: str) -> float:
    """Return ours by dask-kubernetes', of the sums over all draws: start-up times differ a lot."""
    ours, theirs = (sum(getattr(pair[who], what) for pair in pairs) for who in (0, 1))
    return float(ours / theirs)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_work_is_done_twice(results: dict[str, list[Pair]], family: str) -> None:
    assert sum(ours.recomputed for ours, _ in results[family]) == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_the_number_of_workers_does_not_oscillate_within_the_window(
    results: dict[str, list[Pair]], family: str
) -> None:
    assert sum(ours.reversals(WINDOW) for ours, _ in results[family]) == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_fewer_worker_seconds_than_dask_kubernetes_in_no_more_time(
    results: dict[str, list[Pair]], family: str
) -> None:
    pairs = results[family]
    print(f"{ratio(pairs, 'seconds'):.3f} of the time, {ratio(pairs, 'worker_seconds'):.3f} of the workers")
    assert ratio(pairs, "seconds") < 1.01  # Looks at the demand don't come at the very same moments.
    assert ratio(pairs, "worker_seconds") < 0.97


def test_all_traces_together_take_less_of_both(results: dict[str, list[Pair]]) -> None:
    pairs = [pair for of_family in results.values() for pair in of_family]
    assert ratio(pairs, "seconds") < 1.0
    assert ratio(pairs, "worker_seconds") < 0.9


def test_where_workers_cannot_be_drained_no_task_begins_anew_but_one_that_had_just_begun() -> None:
    """A task that began after its worker's last heartbeat may be missed."""
    thrown_away = [
        seconds
        for trace in traces(seed=4)
        for seconds in Cluster(trace, heartbeats=True).run(Ours()).thrown_away
    ]
    assert max(thrown_away, default=0.0) <= 1.0


def test_the_table_shows_every_trace_and_all_together(by_trace: dict[str, list[Pair]]) -> None:
    table = list(rows(by_trace))
    print(*table, sep="\n")
    assert len(table) == 1 + 2 * (len(traces()) + 1)
