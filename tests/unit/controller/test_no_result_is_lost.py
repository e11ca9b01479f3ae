"""Whatever there is and whatever is known of it: no plan deletes a pod whose worker may hold the only copy.

A case is the truth (pods, the workers that run in them, what they hold) and what the controller sees of it.
The plan sees only the latter; what it deletes is judged by the former.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from dask_k8s_controller.cache.objects import Pod
from dask_k8s_controller.cluster.plan import plan as plan_cluster
from dask_k8s_controller.plans.actions import Delete
from dask_k8s_controller.scheduler.answers import Answer, Problem, Retirement, Worker
from dask_k8s_controller.settings import Policy
from dask_k8s_controller.worker_group.observe import ObservedGroup
from dask_k8s_controller.worker_group.plan import plan
from tests.unit.controller.builders import (
    NOW,
    cluster,
    group,
    observed_cluster,
    scheduler_pod,
    worker_pod,
)

HOST = "10.1.0.1"
"""The address that pods share which use their host's network."""

OTHERS = ("DaskWorkerGroup", "other")
RUNNING = {"containerStatuses": [{"name": "worker", "state": {"running": {}}}]}
CRASHED = {"containerStatuses": [{"name": "worker", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}
HALF = {"containerStatuses": [*RUNNING["containerStatuses"], {"name": "proxy", "state": {"waiting": {}}}]}

# What a pod looks like, and whether a worker can run in it.
STATES: dict[str, tuple[dict[str, Any], bool]] = {
    "running": ({"status": RUNNING}, True),
    "running, but nothing is known of its containers": ({}, True),
    "not ready": ({"status": RUNNING, "ready": False}, True),
    "half pending": ({"status": HALF, "phase": "Pending"}, True),
    "begun since it was seen": ({"phase": "Pending"}, True),
    "pending": ({"phase": "Pending"}, False),
    "crashed": ({"status": CRASHED}, False),
    "deleted": ({"status": RUNNING, "going": True}, True),
    "failed": ({"phase": "Failed"}, False),
}


@dataclass(frozen=True)
class Case:
    """The truth, and what is seen of it."""

    observed: ObservedGroup
    holding: frozenset[str]
    """Uids of the pods in which the only copy of something is."""
    begun: frozenset[str]
    """Uids of the pods that have changed since they were seen."""

    @property
    def may_lose(self) -> bool:
        """Nobody wants what there is: there is no scheduler, or no worker is to stay anywhere."""
        observed = self.observed
        nobody = observed.subject.replicas == 0 and not observed.others_remain and not observed.is_autoscaled
        return observed.scheduler is None or nobody


@st.composite
def workers_in(draw: st.DrawFn, pod: str, addresses: list[str]) -> list[Worker]:
    """The workers that run in a pod, called and reached in every way that there is, but all of them alike."""
    count = draw(st.integers(0, 2))
    scheme = draw(st.sampled_from([pod, f"{pod}-{{n}}", "", "tcp://somewhere:1", "custom-7"]))
    host = draw(st.sampled_from(addresses))
    found = []
    for number in range(count):
        name = scheme.format(n=number)
        found.append(
            Worker(
                address=f"tcp://{host}:{draw(st.integers(1, 9))}{number}",
                host=host,
                name=name,
                status=draw(st.sampled_from(["running", "paused", "closing_gracefully"])),
                executing=draw(st.sampled_from([0, 0, 1])),
                keys=draw(st.sampled_from([0, 1])),
                nbytes=0,
            )
        )
    return found


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any case; what is seen is a part of the truth, or what it was."""
    pods: list[Pod] = []
    truth: list[Worker] = []
    holding: set[str] = set()
    begun: set[str] = set()
    without_workers: set[str] = set()
    for number in range(draw(st.integers(1, 5))):
        state = draw(st.sampled_from(sorted(STATES)))
        looks, can_run = STATES[state]
        is_others = draw(st.booleans())
        is_hosted = draw(st.booleans())
        # An address may be that of a pod that had it before.
        ip = HOST if is_hosted else f"10.0.0.{draw(st.integers(1, 4)) if 'going' in looks else 10 + number}"
        second = f"fd00::{number + 1}"
        more = dict(looks)
        more["status"] = {**more.get("status", {}), "podIPs": [{"ip": ip}, {"ip": second}]}
        if draw(st.booleans()):
            more["retiring"] = draw(st.sampled_from([-3600.0, 0.0, 1.0, 3600.0]))
        template = draw(st.sampled_from([group().worker_hash, "older"]))
        if is_others:
            more |= {"group": "c-other", "owner": OTHERS}
        pod = worker_pod(f"w{number}", ip=ip, template=template, age=600 + number, **more)
        pods.append(pod)
        of_pod = draw(workers_in(pod.name, [ip, second, f"192.168.0.{number}"])) if can_run else []
        truth += of_pod
        if any(worker.keys or worker.executing for worker in of_pod):
            holding.add(pod.meta.uid)
        if not of_pod:
            without_workers.add(pod.meta.uid)
        if state == "begun since it was seen":
            begun.add(pod.meta.uid)
    can_drain = draw(st.booleans())
    seen = tuple(draw(reports(worker, can_drain=can_drain)) for worker in truth)
    monotonic = draw(st.floats(-1e6, 1e6))
    age = draw(st.sampled_from([0.0, 1.0, 10.0, 1e6]))
    if age > Policy().answer_age:
        seen = tuple(worker for worker in seen if draw(st.booleans()))
    problem = draw(st.sampled_from([Problem.NONE, Problem.NONE, *Problem]))
    answer = Answer(monotonic - age, seen if problem is Problem.NONE else None, problem)
    times = st.sampled_from([0.0, 0.5, 100.0])
    uids = [pod.meta.uid for pod in pods]
    failed = draw(st.sampled_from([None, *(each for each in Problem if each is not Problem.NONE)]))
    retirement = Retirement(
        under_way={
            uid: draw(st.sampled_from(["c-scheduler", "earlier"])) for uid in uids if draw(st.booleans())
        },
        # Workers that are retired are gone.
        done=frozenset(uid for uid in without_workers if draw(st.booleans())),
        refused={uid: monotonic - draw(times) for uid in uids if draw(st.booleans())},
        busy={uid: monotonic - draw(times) for uid in uids if draw(st.booleans())},
        failed=Answer(monotonic - draw(times), None, failed) if failed is not None else None,
    )
    clock = draw(
        st.sampled_from([timedelta(), timedelta(hours=1), timedelta(hours=-1), timedelta(days=9000)])
    )
    observed = ObservedGroup(
        subject=group(replicas=draw(st.integers(0, 3))),
        now=NOW + clock,
        cluster=cluster(),
        scheduler=draw(st.sampled_from([scheduler_pod(), scheduler_pod(), scheduler_pod(ready=False), None])),
        pods=tuple(pod for pod in pods if pod.meta.is_child_of("group")),
        cluster_pods=tuple(pods),
        others_remain=draw(st.booleans()),
        is_autoscaled=draw(st.booleans()),
        leaving=frozenset(uid for uid in uids if draw(st.booleans())),
        workers=draw(st.sampled_from([answer, answer, None])),
        retirement=retirement,
        entropy="case",
        monotonic=monotonic,
    )
    return Case(observed, frozenset(holding), frozenset(begun))


@st.composite
def reports(draw: st.DrawFn, worker: Worker, *, can_drain: bool) -> Worker:
    """What a scheduler says of a worker: all, or less than it could, but nothing wrong."""
    known = replace(worker, can_drain=can_drain, is_draining=can_drain and draw(st.booleans()))
    if can_drain or draw(st.booleans()):
        return known
    executing = draw(st.sampled_from([worker.executing, None]))
    return replace(known, executing=executing, keys=draw(st.sampled_from([worker.keys, None])), nbytes=None)


def deleted(case: Case) -> set[str]:
    """The pods that really go: a deletion on condition that nothing has changed does nothing otherwise."""
    return {
        action.uid
        for action in plan(case.observed, Policy()).actions
        if isinstance(action, Delete) and not (action.version and action.uid in case.begun)
    }


def lost(case: Case) -> set[str]:
    return set() if case.may_lose else deleted(case) & case.holding


SEARCH = (Phase.generate,)
"""An example will do: the smallest isn't looked for."""

CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@settings(CALM, max_examples=600, derandomize=True)
@given(cases())
def test_no_plan_deletes_the_only_copy(case: Case) -> None:
    assert lost(case) == set()


@pytest.mark.full
@settings(CALM, max_examples=20_000)
@given(cases())
def test_no_plan_ever_deletes_the_only_copy(case: Case) -> None:
    assert lost(case) == set()


@pytest.mark.parametrize(
    "happens",
    [
        lambda case: bool(deleted(case)) and not case.may_lose,
        lambda case: bool(deleted(case) & case.holding),
        lambda case: bool(case.holding) and bool(deleted(case)) and not case.may_lose,
        lambda case: bool(case.observed.leaving & deleted(case)) and not case.may_lose,
    ],
    ids=[
        "something is deleted",
        "something is lost that nobody wants",
        "what holds nothing goes, others stay",
        "a pod goes whose node is about to go",
    ],
)
def test_the_cases_are_such_that_it_could(happens: Callable[[Case], bool]) -> None:
    assert find(cases(), happens, settings=settings(CALM, max_examples=5000, derandomize=True, phases=SEARCH))


@settings(CALM, max_examples=300, derandomize=True)
@given(
    monotonic=st.floats(-1e6, 1e6),
    age=st.floats(0, 1e6),
    idle=st.one_of(st.none(), st.floats(0, 1e6)),
    problem=st.sampled_from(Problem),
    wall=st.datetimes(datetime(2000, 1, 1), datetime(2999, 1, 1)),
    timeout=st.integers(1, 10**6),
)
def test_no_clock_makes_a_cluster_idle(
    monotonic: float, age: float, idle: float | None, problem: Problem, wall: datetime, timeout: int
) -> None:
    answer = Answer(monotonic - age, idle if problem is Problem.NONE else None, problem)
    of = cluster(idleTimeout=timeout)
    observed = observed_cluster(of, idle=answer, monotonic=monotonic)
    observed = replace(observed, now=wall.replace(tzinfo=NOW.tzinfo))
    deletions = [action for action in plan_cluster(observed, Policy()).actions if isinstance(action, Delete)]
    if deletions:
        assert problem is Problem.NONE
        assert idle is not None
        assert age <= Policy().answer_age + 1e-6
        assert idle + age >= timeout - 0.01
