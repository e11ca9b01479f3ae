"""What is sought when the cache lacks it: nothing is decided because something isn't there."""

from __future__ import annotations

from typing import Any

import pytest

from dask_k8s_controller.cache.objects import Pod, Sought
from dask_k8s_controller.job.observe import ObservedJob
from dask_k8s_controller.job.spec import Job
from dask_k8s_controller.kubernetes.resources import Key
from dask_k8s_controller.operator import KINDS
from dask_k8s_controller.plans.kind import Kind
from tests.unit.controller.autoscaling.builders import autoscaler_body
from tests.unit.controller.builders import (
    NOW,
    cluster,
    cluster_body,
    default_group,
    group,
    group_body,
    job_body,
    job_body_of,
    observed_cluster,
    observed_group,
    pod_body,
    scheduler_pod,
    time,
    worker_pod,
)
from tests.unit.controller.test_cost import cache_with

SCHEDULER = (
    Sought("Pod", "c-scheduler"),
    Sought("Pod", selector="dask.org/component=scheduler"),
)


class TestAGroup:
    def test_seeks_its_scheduler_while_its_workers_may_hold_something(self) -> None:
        assert observed_group(group(), worker_pod("w1"), scheduler=None).missing == SCHEDULER

    def test_seeks_nothing_if_it_has_one(self) -> None:
        assert observed_group(group(), worker_pod("w1"), scheduler=scheduler_pod()).missing == ()

    def test_seeks_nothing_if_no_worker_has_started(self) -> None:
        assert observed_group(group(), worker_pod("w1", phase="Pending"), scheduler=None).missing == ()

    def test_seeks_nothing_while_its_cluster_is_suspended(self) -> None:
        suspended = cluster(suspend=True)
        assert observed_group(group(), worker_pod("w1"), scheduler=None, cluster=suspended).missing == ()


class TestACluster:
    def test_seeks_the_scheduler_that_was_ready(self) -> None:
        of = cluster(status={"conditions": [{"type": "SchedulerReady", "status": "True"}]})
        assert observed_cluster(of, pods=(), groups=(default_group(of),)).missing == SCHEDULER

    def test_seeks_none_that_it_never_had(self) -> None:
        assert observed_cluster(cluster(), pods=()).missing == ()


class TestAJob:
    def observed(self, *pods: Pod, attempts: int, **more: Any) -> ObservedJob:
        return ObservedJob(Job.of({**job_body(), "status": {"attempts": attempts}}), NOW, pods=pods, **more)

    def runner(self, phase: str) -> Pod:
        return Pod.of(pod_body("j-runner", component="job-runner", owner=("DaskJob", "job"), phase=phase))

    def test_seeks_the_pod_of_its_latest_attempt(self) -> None:
        assert self.observed(attempts=2).missing == (Sought("Pod", "j-runner-2"),)

    def test_seeks_nothing_before_it_has_one(self) -> None:
        assert self.observed(attempts=0).missing == ()

    def test_seeks_its_cluster_and_its_scheduler_while_it_runs(self) -> None:
        running = self.runner("Running")
        assert self.observed(running, attempts=1).missing == (Sought("DaskCluster", "j"),)
        of = cluster("j")
        found = self.observed(running, attempts=1, cluster=of).missing
        assert found == (Sought("Pod", "j-scheduler"), SCHEDULER[1])
        assert self.observed(self.runner("Succeeded"), attempts=1, cluster=of).missing == ()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.resource))
def test_of_what_is_being_deleted_nothing_is_gathered(kind: Kind[Any, Any]) -> None:
    bodies = [cluster_body("c"), group_body("c"), job_body_of("other", "c"), autoscaler_body("c")]
    key = Key(kind.resource.kind, "default", "c")
    assert kind.observe(cache_with(bodies), key) is not None
    for body in bodies:
        body["metadata"]["deletionTimestamp"] = time()
    assert kind.observe(cache_with(bodies), key) is None
