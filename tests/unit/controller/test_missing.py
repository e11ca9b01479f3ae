"""Nothing is decided because something is missing from the cache: it is read from the API server first."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from dask_k8s_controller.cache.cache import Cache
from dask_k8s_controller.cache.objects import Pod, Sought
from dask_k8s_controller.job.observe import ObservedJob
from dask_k8s_controller.job.spec import Job
from dask_k8s_controller.kubernetes.errors import Unavailable
from dask_k8s_controller.kubernetes.executor import Executor
from dask_k8s_controller.kubernetes.recorder import EventRecorder
from dask_k8s_controller.kubernetes.resources import Key, Resource
from dask_k8s_controller.kubernetes.status_writer import StatusWriter
from dask_k8s_controller.operator import KINDS
from dask_k8s_controller.runtime.metrics import Metrics
from dask_k8s_controller.runtime.reconciler import Reconciler
from dask_k8s_controller.scheduler.conversations import Conversations
from dask_k8s_controller.settings import EventSettings, Policy
from dask_k8s_controller.worker_group.kind import WORKER_GROUP
from dask_k8s_models import labels
from tests.unit.controller.builders import (
    NOW,
    cluster,
    cluster_body,
    default_group,
    group,
    group_body,
    observed_cluster,
    observed_group,
    pod_body,
    scheduler_pod,
    time,
    worker_pod,
)
from tests.unit.controller.clocks import ManualClock
from tests.unit.controller.jobs.story import job_body

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


class ApiServer:
    """Has a scheduler's pod, of which the cache knows nothing."""

    def __init__(self, scheduler: Mapping[str, Any] | None, *, answers: bool = True) -> None:
        self.scheduler = scheduler
        self.answers = answers
        self.deleted: list[str] = []
        self.looks = 0

    async def get(self, resource: Resource, namespace: str, name: str) -> Mapping[str, Any] | None:
        self.looks += 1
        if not self.answers:
            raise Unavailable("the API server does not answer")
        return self.scheduler if self.scheduler and self.scheduler["metadata"]["name"] == name else None

    async def list(self, resource: Resource, namespace: str, selector: str) -> Mapping[str, Any]:
        return {"items": []}

    async def delete(self, resource: Resource, namespace: str, name: str, *_: Any, **options: Any) -> None:
        self.deleted.append(name)

    async def patch(self, resource: Resource, namespace: str, name: str, patch: Any, *_: Any) -> Any:
        return {"kind": resource.kind, "metadata": {"name": name, "namespace": namespace, "uid": name}}


def reconciler(api: Any, clock: ManualClock | None = None) -> tuple[Reconciler, Cache]:
    """A group of three workers that wants one, in a cluster whose scheduler the cache doesn't show."""
    clock = clock or ManualClock()
    conversations = Conversations(None, clock, lambda _: None)  # type: ignore[arg-type]
    cache = Cache({kind.resource.kind: kind.parse for kind in KINDS}, clock, conversations)
    cache.store("DaskCluster").see(cluster_body())
    cache.store("DaskWorkerGroup").see(group_body(replicas=1))
    for name in ("w1", "w2", "w3"):
        cache.store("Pod").see(pod_body(name, template=group().worker_hash))
    return (
        Reconciler(
            {"DaskWorkerGroup": WORKER_GROUP},
            cache=cache,
            executor=Executor(cache, api, 10),
            statuses=StatusWriter(cache, api, clock, 0),
            recorder=EventRecorder(api, clock, EventSettings(enabled=False)),
            conversations=conversations,
            metrics=Metrics(),
            policy=Policy(),
        ),
        cache,
    )


KEY = Key("DaskWorkerGroup", "default", "c-default")


async def test_no_worker_is_deleted_if_the_scheduler_only_lost_its_label(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    body = pod_body("c-scheduler", component="scheduler", phase="Pending")
    del body["metadata"]["labels"][labels.CLUSTER_NAME]
    api = ApiServer(body)
    subject, cache = reconciler(api)
    monkeypatch.setattr(Conversations, "ask", lambda *_: None)
    await subject.reconcile(KEY)
    assert api.deleted == []
    assert [pod.name for pod in cache.find(Pod, "name", "default", "c-scheduler")] == ["c-scheduler"]


async def test_nothing_is_decided_if_the_api_server_does_not_say() -> None:
    api = ApiServer(None, answers=False)
    subject, _ = reconciler(api)
    requeue = await subject.reconcile(KEY)
    assert requeue.failed
    assert api.deleted == []


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


async def test_without_a_scheduler_anywhere_there_is_nothing_to_lose() -> None:
    api = ApiServer(None)
    subject, _ = reconciler(api)
    await subject.reconcile(KEY)
    assert len(api.deleted) == 2
    assert api.looks == 1


class JumpingClock(ManualClock):
    """Its time of day steps back by an hour at the second look."""

    looks = 0

    def now(self) -> datetime:
        self.looks += 1
        return super().now() - (timedelta(hours=1) if self.looks > 1 else timedelta())


async def test_a_wait_is_as_long_as_it_should_be_though_the_time_of_day_steps_back() -> None:
    subject, cache = reconciler(ApiServer(None), JumpingClock())
    ended = {"terminated": {"exitCode": 1, "finishedAt": time(-4)}}
    status = {"containerStatuses": [{"name": "worker", "state": ended}]}
    for name in ("w1", "w2", "w3"):
        cache.store("Pod").forget(name)
    cache.store("Pod").see(pod_body("w4", template=group().worker_hash, phase="Failed", age=5, status=status))
    requeue = await subject.reconcile(KEY)
    assert requeue.after == 6
