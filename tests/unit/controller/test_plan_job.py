"""What a job's plan does about what is in its way; `tests/faults/controller/jobs` tells the rest."""

from __future__ import annotations

from typing import Any

from dask_k8s_controller.cache.objects import Pod
from dask_k8s_controller.cluster.spec import Cluster
from dask_k8s_controller.job.observe import ObservedJob
from dask_k8s_controller.job.plan import plan
from dask_k8s_controller.job.spec import Job
from dask_k8s_controller.job.status import status
from dask_k8s_controller.plans.actions import Create, Delete, Outcome
from dask_k8s_controller.settings import Policy
from dask_k8s_models.job import JobStatus
from tests.harness.clocks import NOW
from tests.unit.controller.builders import cluster_body, job_body, pod_body, scheduler_pod, time


def observed(of: Job | None = None, **more: Any) -> ObservedJob:
    return ObservedJob(of or Job.of(job_body()), NOW, **more)


def made(of: ObservedJob) -> list[str]:
    bodies = [one.body for one in plan(of, Policy()).actions if isinstance(one, Create)]
    return [f"{body['kind']} {body['metadata']['name']}" for body in bodies]


def deleted(of: ObservedJob) -> list[str]:
    actions = plan(of, Policy()).actions
    return [f"{one.kind} {one.name}" for one in actions if isinstance(one, Delete)]


def cluster_of(uid: str, name: str = "j") -> Cluster:
    """A cluster that was made for a job with this uid."""
    owner = {"kind": "DaskJob", "name": "j", "uid": uid, "controller": True}
    return Cluster.of(cluster_body(name, "made", metadata={"ownerReferences": [owner]}))


def runner_of(uid: str) -> Pod:
    return Pod.of(pod_body("j-runner", component="job-runner", of="j", owner=("DaskJob", uid)))


def test_what_an_earlier_job_of_the_name_left_goes_first() -> None:
    found = observed(cluster=cluster_of("earlier"), pods=(runner_of("earlier"),))
    assert sorted(deleted(found)) == ["DaskCluster j", "Pod j-runner"]
    assert made(found) == []


def test_a_pod_of_an_earlier_job_that_holds_the_name_goes_first() -> None:
    ready = {"cluster": cluster_of("job"), "scheduler": scheduler_pod("j-scheduler")}
    holder = runner_of("earlier")
    found = observed(**ready, pods=(holder,), name_holders=(holder,))
    assert (deleted(found), made(found)) == (["Pod j-runner"], [])
    assert made(observed(**ready)) == ["Pod j-runner"]


def test_an_invalid_spec_needs_a_person() -> None:
    """Not every API server has our validation rules."""
    found = observed(Job.of(job_body(backoffLimit=-1)))
    told = status(found, plan(found, Policy()), Outcome())
    JobStatus.model_validate(told)
    stalled = next(item for item in told["conditions"] if item["type"] == "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "InvalidSpec")
    assert "backoffLimit" in stalled["message"]
    assert (made(found), deleted(found)) == ([], [])


def test_a_job_never_ends_before_it_began() -> None:
    """Its end is told by a node, whose clock may be behind."""
    body = job_body()
    body["status"] = {"jobStatus": "Running", "startTime": time()}
    terminated = {"exitCode": 0, "finishedAt": time(-1)}
    statuses = [{"name": "job", "state": {"terminated": terminated}}]
    runner = pod_body(
        "j-runner",
        component="job-runner",
        of="j",
        owner=("DaskJob", "job"),
        phase="Succeeded",
        status={"containerStatuses": statuses},
    )
    found = observed(Job.of(body), pods=(Pod.of(runner),))
    assert found.latest is not None
    assert found.latest.ended is not None
    assert found.latest.ended < NOW
    assert status(found, plan(found, Policy()), Outcome())["endTime"] == time()
