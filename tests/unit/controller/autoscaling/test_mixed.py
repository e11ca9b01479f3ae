"""Mixed workloads, simulated: by what tasks need, beside one number for all, as without the route."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from benchmarks.autoscaler_mixed import POLICIES, from_zero, rows, run_all, traces
from benchmarks.autoscaler_policies import Ours
from benchmarks.autoscaler_simulation import Cluster, Result
from benchmarks.autoscaler_traces import traces as unrestricted
from benchmarks.autoscaler_workloads import Batch, Kind, Trace

Results = Mapping[str, Mapping[str, Sequence[Result]]]


def ratio(results: Results, policy: str, what: str) -> float:
    """Return what a policy takes of all workloads together, by what one number for all takes."""
    found, base = (
        sum(getattr(one, what) for by_policy in results.values() for one in by_policy[name])
        for name in (policy, "one number")
    )
    return float(found / base)


def hold(results: Results, slowest: float) -> None:
    print(*rows(results), sep="\n")
    for policy in ("by needs", "from zero"):
        assert ratio(results, policy, "cost") <= 0.75
        assert ratio(results, policy, "seconds") <= 1.02
    for by_policy in results.values():
        assert sum(one.recomputed + one.results_lost for found in by_policy.values() for one in found) == 0
        seconds = {name: sum(one.seconds for one in found) for name, found in by_policy.items()}
        assert seconds["by needs"] <= slowest * seconds["one number"]


def test_mixed_workloads_cost_a_quarter_less_in_no_more_time() -> None:
    """Of one draw: when work comes in waves, it matters by chance which of them finds many workers."""
    hold(run_all(traces(0)), slowest=1.06)


@pytest.mark.full
def test_mixed_workloads_of_many_draws_cost_a_quarter_less_in_no_more_time() -> None:
    hold(run_all(trace for seed in range(5) for trace in traces(seed)), slowest=1.02)


@pytest.mark.parametrize("trace", unrestricted(), ids=lambda trace: trace.name)
def test_where_no_task_needs_anything_nothing_changes(trace: Trace) -> None:
    """Every pod comes and goes at the very moment at which it did without the route."""
    assert Cluster(trace).run(Ours()) == Cluster(trace).run(Ours(knows_needs=False))


def test_bursts_of_tasks_that_any_worker_can_run_leave_gpus_and_memory_at_zero() -> None:
    (bursts, *_) = (trace for trace in map(from_zero, traces(0)) if trace.name == "bursts")
    result = Cluster(Trace("plain", bursts.clients[:1], bursts.groups)).run(Ours())
    assert [len(changes) > 1 for changes in result.changes] == [True, False, False]


def test_results_that_a_gpu_worker_holds_are_moved_to_a_cheaper_one() -> None:
    held = Batch((1.0,) * 4, "held", pause=600.0, nbytes=10**6, needs={"GPU": 1.0})
    cluster = Cluster(
        Trace("held", ((held, Batch((1.0,), "end")),), (Kind(), Kind("gpu", 8.0, {"GPU": 1.0})))
    )
    result = cluster.run(Ours())
    default, gpu = result.changes
    assert [number for _, number in gpu] == [0, 1, 0]
    assert max(number for _, number in default) == 1
    assert gpu[-1][0] < 120
    assert result.results_lost == 0


def test_every_policy_is_in_the_table() -> None:
    plain = Trace("plain", ((Batch((1.0,), "one"),),), (Kind(),))
    assert len([*rows(run_all([plain]))]) == 1 + len(POLICIES)
