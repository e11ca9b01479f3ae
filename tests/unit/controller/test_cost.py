"""What one event costs grows as what belongs to the object, never as its square."""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Iterable
from typing import Any

import pytest

from dask_k8s_controller.cache.cache import Cache
from dask_k8s_controller.cache.objects import Pod
from dask_k8s_controller.operator import KINDS
from dask_k8s_controller.plans.actions import Outcome
from dask_k8s_controller.scheduler.conversations import Conversations
from dask_k8s_controller.settings import Policy
from tests.harness.clocks import ManualClock
from tests.unit.controller.builders import cluster_body, group_body, job_body_of, metadata, pod_body

BY_KIND = {kind.resource.kind: kind for kind in KINDS}


def cache_with(bodies: Iterable[dict[str, Any]]) -> Cache:
    clock = ManualClock()
    conversations = Conversations(None, clock, lambda key: None)  # type: ignore[arg-type]
    cache = Cache({kind.resource.kind: kind.object_type.of for kind in KINDS}, clock, conversations)
    for body in bodies:
        cache.see(body)
    return cache


def calls_for(cache: Cache, changed: Any) -> int:
    """Count the calls that it takes to observe and plan all that a change concerns."""
    profile = cProfile.Profile()
    with profile:
        reconcile_all(cache, changed)
    return int(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]


def reconcile_all(cache: Cache, changed: Any) -> None:
    for key in [key for kind in KINDS for key in kind.keys(cache, changed)]:
        kind = BY_KIND[key.kind]
        observed = kind.observe(cache, key)
        if observed is not None:
            kind.status(observed, kind.plan(observed, Policy()), Outcome())


def groups(count: int) -> Iterable[dict[str, Any]]:
    return (group_body(f"c-{number}", f"g{number}", replicas=0) for number in range(count))


def jobs(count: int) -> Iterable[dict[str, Any]]:
    return (job_body_of("c", f"j{number}") for number in range(count))


def autoscalers(count: int) -> Iterable[dict[str, Any]]:
    """One for each of as many groups."""
    for number, body in enumerate(groups(count)):
        yield body
        spec = {"cluster": "c", "workerGroup": body["metadata"]["name"], "maximum": 5}
        yield {
            "apiVersion": "kubernetes.dask.org/v1",
            "kind": "DaskAutoscaler",
            "metadata": metadata(f"a{number}"),
            "spec": spec,
        }


@pytest.mark.parametrize("many", [groups, jobs, autoscalers])
def test_an_event_of_a_scheduler_costs_twice_as_much_more_with_twice_as_many_more(many: Any) -> None:
    scheduler = pod_body("c-scheduler", component="scheduler")
    workers = [pod_body(f"w{number}") for number in range(50)]
    # Models are built when they are used first.
    reconcile_all(cache_with([cluster_body(), scheduler, *many(1)]), Pod.of(scheduler))
    first, second, third = (
        calls_for(cache_with([cluster_body(), scheduler, *workers, *many(count)]), Pod.of(scheduler))
        for count in (100, 200, 400)
    )
    # Twice if it is in proportion; with the square it is four times.
    assert 0 < third - second < 2.5 * (second - first)
