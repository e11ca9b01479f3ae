"""Whole workloads, simulated: the planners of autoscalers and groups beside what the incumbent does."""

from __future__ import annotations

import pytest

from benchmarks.autoscaler_policies import Ours
from benchmarks.autoscaler_simulation import Cluster, Result
from benchmarks.autoscaler_traces import WINDOW, rows, run, traces

SEEDS = range(4)
FAMILIES = ("bursts", "long tails", "sawtooth", "map and reduce")

Pair = tuple[Result, Result]


@pytest.fixture(scope="module")
def results() -> dict[str, list[Pair]]:
    """Of each family of traces, with each seed: ours and the incumbent's."""
    found: dict[str, list[Pair]] = {name: [] for name in FAMILIES}
    for seed in SEEDS:
        for trace in traces(seed):
            family = next(name for name in FAMILIES if trace.name.startswith(name))
            found[family].append(run(trace))
    return found


def ratio(pairs: list[Pair], what: str) -> float:
    """Return ours by the incumbent's, of the sums over all draws: start-up times differ a lot."""
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
def test_fewer_worker_seconds_than_the_incumbent_in_no_more_time(
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


def test_the_table_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    for row in rows(seeds=1):
        print(row)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 2 * len(traces())
