"""What users do with jobs."""

from __future__ import annotations

from typing import Any

from tests.harness.flows.clusters import create, manifest
from tests.harness.flows.flow import Act, Flow, then
from tests.harness.flows.shapes import JOBS, NAME, NOTHING, Shape, of
from tests.harness.kube import Object
from tests.harness.lab import Stage
from tests.harness.nodes import on_fake_nodes

GUEST = "guest"
"""A job that uses a cluster."""


def create_job(**spec: Any) -> Act:
    pod = {
        "containers": [{"name": "job", "image": "daskdev/dask:1", "args": ["python"]}],
        "restartPolicy": "Never",
    }
    is_guest = "clusterRef" in spec
    own_cluster = {} if is_guest else {"cluster": {"spec": manifest(1)["spec"]}}
    body = {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskJob",
        "metadata": {"name": GUEST if is_guest else NAME},
        "spec": {"job": {"spec": on_fake_nodes(pod)}, "minReadyWorkers": 1, **own_cluster, **spec},
    }
    return lambda stage: stage.kube.create(body, stage.namespace)


def suspend_job(value: bool) -> Act:
    return lambda stage: stage.kube.patch(JOBS, NAME, {"spec": {"suspend": value}}, stage.namespace)


def delete_job(stage: Stage) -> None:
    stage.kube.delete(JOBS, NAME, stage.namespace)


def end(phase: str, job: str = NAME, attempt: int = 1) -> Act:
    """Wait until the pod of an attempt runs, and let it end."""
    name = f"{job}-runner" if attempt == 1 else f"{job}-runner-{attempt}"
    code = 0 if phase == "Succeeded" else 1
    ended = {
        "exitCode": code,
        "reason": "Error" if code else "Completed",
        "startedAt": "2026-11-23T09:00:00Z",
        "finishedAt": "2026-11-23T09:00:01Z",
    }
    container = {"name": "job", "image": "daskdev/dask:1", "imageID": "", "ready": False, "restartCount": 0}
    status = {
        "phase": phase,
        "conditions": [{"type": "Ready", "status": "False"}],
        "containerStatuses": [{**container, "state": {"terminated": ended}}],
    }

    def act(stage: Stage) -> None:
        stage.kube.wait("pods", name, stage.namespace, until=_runs)
        stage.kube.patch("pods", name, {"status": status}, stage.namespace, subresource="status")

    return act


def _runs(pod: Object) -> bool:
    return bool(pod.get("status", {}).get("phase") == "Running")


def job(status: str, runners: int = 1, **more: Any) -> Shape:
    """A job whose cluster is gone, or not there yet."""
    return Shape(schedulers=0, condition="", runners=runners, job={"jobStatus": status, **more})


RUNNING = Shape(of(1), runners=1, job={"jobStatus": "Running"})
JOB_RUN = {
    "create daskclusters": 1,
    "create services": 1,
    "create daskworkergroups": 1,
    "create pods": 3,
    "delete daskclusters": 1,
    "create events": 1,
    "patch daskclusters/status": 1,
    "patch daskworkergroups/status": 1,
    "patch daskjobs/status": 2,
}

FLOWS = (
    Flow(
        "job that succeeds", then(create_job(), end("Succeeded")), job("Successful", attempts=1), 3, JOB_RUN
    ),
    Flow(
        "job that fails",
        then(create_job(backoffLimit=0), end("Failed")),
        job("Failed", attempts=1),
        3,
        JOB_RUN,
    ),
    Flow(
        "second attempt of a job",
        then(end("Failed"), end("Succeeded", attempt=2)),
        job("Successful", runners=2, attempts=2, jobRunnerPodName=f"{NAME}-runner-2"),
        1,
        {"create pods": 1, "delete daskclusters": 1, "create events": 1, "patch daskjobs/status": 1},
        create_job(backoffLimit=1),
        RUNNING,
    ),
    Flow(
        "suspend a job",
        suspend_job(True),
        job("JobCreated", runners=0, attempts=1, startTime=None),
        0,
        {"delete pods": 1, "delete daskclusters": 1, "patch daskjobs/status": 1},
        create_job(backoffLimit=0),
        RUNNING,
    ),
    Flow(
        "resume a job",
        then(suspend_job(False), end("Succeeded")),
        job("Successful", attempts=1),
        3,
        JOB_RUN,
        create_job(suspend=True, backoffLimit=0),
        job("JobCreated", runners=0, attempts=0),
    ),
    Flow(
        "job of another's cluster",
        then(create_job(clusterRef={"name": NAME}), end("Succeeded", GUEST)),
        Shape(of(1), runners=1, job={"jobStatus": "Successful", "attempts": 1}),
        1,
        {"create pods": 1, "create events": 1, "patch daskjobs/status": 2},
        create(1),
        Shape(of(1)),
    ),
    Flow(
        "job that goes when it has ended",
        end("Succeeded"),
        NOTHING,
        0,
        {"delete daskclusters": 1, "delete daskjobs": 1, "create events": 1, "patch daskjobs/status": 1},
        create_job(ttlSecondsAfterFinished=0),
        RUNNING,
    ),
    Flow("delete a job", delete_job, NOTHING, 0, {}, create_job(), RUNNING),
)
