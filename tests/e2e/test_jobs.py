"""DaskJobs from their manifests to their end, seen through the API server alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from dask_k8s_models import make_job_spec
from tests.e2e.conftest import DASK_CLUSTERS, is_running
from tests.harness.kube import Kube, Object

JOBS = "daskjobs.kubernetes.dask.org"
EXAMPLES = Path(__file__).parents[2] / "examples"

Manifest = Callable[..., Object]

SLEEP = "import time; time.sleep(600)"


def python(script: str) -> list[str]:
    return ["python", "-c", script]


def finished(job: Object) -> bool:
    return job.get("status", {}).get("jobStatus") in ("Successful", "Failed")


def runs(job: Object) -> bool:
    return bool(job.get("status", {}).get("jobStatus") == "Running")


def reasons(job: Object) -> dict[str, tuple[str, str]]:
    return {item["type"]: (item["status"], item["reason"]) for item in job["status"]["conditions"]}


def message(job: Object, condition: str) -> str:
    return next(str(item["message"]) for item in job["status"]["conditions"] if item["type"] == condition)


def seconds_between(job: Object, earlier: str, later: str) -> float:
    from datetime import datetime

    times = [datetime.fromisoformat(job["status"][name]) for name in (earlier, later)]
    return (times[1] - times[0]).total_seconds()


SUCCESS = {
    "Complete": ("True", "Completed"),
    "Ready": ("True", "Ready"),
    "Reconciling": ("False", "NotReconciling"),
    "Stalled": ("False", "NotStalled"),
}


def failure(reason: str) -> dict[str, tuple[str, str]]:
    return {
        "Failed": ("True", reason),
        "Ready": ("False", reason),
        "Reconciling": ("False", "NotReconciling"),
        "Stalled": ("True", reason),
    }


RESUMED = {"Suspended": ("False", "JobResumed")}


@pytest.fixture
def job_manifest(idle_cluster_manifest: Manifest, dask_image: str) -> Manifest:
    """A DaskJob whose own pod really runs, with a cluster whose pods only wait."""

    def manifest(name: str, script: str, **options: Any) -> Object:
        job = make_job_spec(name, python(script), dask_image, **options)
        pod = job["spec"]["job"]["spec"]
        pod["terminationGracePeriodSeconds"] = 1
        if "cluster" in job["spec"]:
            job["spec"]["cluster"]["spec"] = idle_cluster_manifest(name, n_workers=0)["spec"]
        return job

    return manifest


@pytest.mark.usefixtures("controller")
class TestTheSeedsJob:
    """What the documentation narrates, step by step."""

    @pytest.fixture
    def manifest(self, dask_image: str) -> Object:
        """The documented manifest, with commands that today's distributed has, and some work to do."""
        text = (EXAMPLES / "job.yaml").read_text()
        text = text.replace("ghcr.io/dask/dask:latest", dask_image).replace("namespace: default", "")
        job: Object = yaml.safe_load(text)
        cluster = job["spec"]["cluster"]["spec"]
        for component, command in (("scheduler", "dask-scheduler"), ("worker", "dask-worker")):
            container = cluster[component]["spec"]["containers"][0]
            assert container["args"][0] == command
            container["args"][:1] = command.split("-")
        scheduler = cluster["scheduler"]["spec"]["containers"][0]
        scheduler["readinessProbe"] |= {"initialDelaySeconds": 0, "periodSeconds": 1}
        work = (
            "from dask.distributed import Client; client = Client(); "
            "client.wait_for_workers(2, timeout=120); "
            "assert client.submit(sum, [1, 2, 3]).result(timeout=60) == 6; "
            "import time; time.sleep(5)"
        )
        job["spec"]["job"]["spec"]["containers"][0]["args"][-1] = work
        return job

    def test_runs_cleans_up_and_goes_with_everything(
        self, kube: Kube, namespace: str, manifest: Object
    ) -> None:
        kube.create(manifest, namespace)

        kube.wait(JOBS, "simple-job", namespace, until=runs, timeout=120)
        pods = kube.wait_all("pods", namespace, until=lambda pods: len(pods) == 4)
        workers = [name for name in pods if name.startswith("simple-job-default-worker-")]
        assert len(workers) == 2
        assert {"simple-job-scheduler", "simple-job-runner"} < pods.keys()
        runner = pods["simple-job-runner"]
        assert runner["spec"]["restartPolicy"] == "OnFailure"
        env = {item["name"]: item.get("value") for item in runner["spec"]["containers"][0]["env"]}
        assert env["DASK_SCHEDULER_ADDRESS"] == f"tcp://simple-job-scheduler.{namespace}.svc:8786"

        job = kube.wait(JOBS, "simple-job", namespace, until=finished, timeout=180)
        assert job["status"]["jobStatus"] == "Successful"
        assert reasons(job) == SUCCESS
        kube.gone(DASK_CLUSTERS, "simple-job", namespace)
        pods = kube.wait_all("pods", namespace, until=lambda pods: len(pods) == 1)
        assert pods["simple-job-runner"]["status"]["phase"] == "Succeeded"

        kube.delete(JOBS, "simple-job", namespace)
        kube.wait_all("pods", namespace, until=lambda pods: not pods)

    @pytest.mark.full
    def test_goes_with_everything_while_it_runs(self, kube: Kube, namespace: str, manifest: Object) -> None:
        manifest["spec"]["job"]["spec"]["containers"][0]["args"][-1] = SLEEP
        parts = manifest["spec"]["cluster"]["spec"]
        for part in (manifest["spec"]["job"], parts["scheduler"], parts["worker"]):
            part["spec"]["terminationGracePeriodSeconds"] = 1
        kube.create(manifest, namespace)
        kube.wait(JOBS, "simple-job", namespace, until=runs, timeout=120)

        kube.delete(JOBS, "simple-job", namespace)

        kube.wait_all("pods", namespace, until=lambda pods: not pods, timeout=90)
        assert kube.list(DASK_CLUSTERS, namespace) == []
        assert kube.list("services", namespace, "dask.org/cluster-name") == []


@pytest.mark.usefixtures("controller")
class TestStories:
    """Jobs with one peculiarity each, asserted to the last field of their status."""

    def test_success(self, kube: Kube, namespace: str, job_manifest: Manifest) -> None:
        kube.create(job_manifest("fine", "print('done')"), namespace)
        job = kube.wait(JOBS, "fine", namespace, until=finished)
        assert reasons(job) == SUCCESS
        assert_status(
            job, jobStatus="Successful", clusterName="fine", jobRunnerPodName="fine-runner", attempts=1
        )
        kube.gone(DASK_CLUSTERS, "fine", namespace)

    def test_failure_tells_exit_code_and_last_words(
        self, kube: Kube, namespace: str, job_manifest: Manifest
    ) -> None:
        script = "import sys; print('no such table'); sys.exit(3)"
        kube.create(job_manifest("broken", script, backoff_limit=0), namespace)
        job = kube.wait(JOBS, "broken", namespace, until=finished)
        assert reasons(job) == failure("BackoffLimitExceeded")
        assert "exit code 3: no such table" in message(job, "Failed")
        assert_status(
            job, jobStatus="Failed", clusterName="broken", jobRunnerPodName="broken-runner", attempts=1
        )
        kube.gone(DASK_CLUSTERS, "broken", namespace)
        assert kube.get("pods", "broken-runner", namespace)["status"]["phase"] == "Failed"

    @pytest.mark.full
    def test_it_fails_twice_and_then_succeeds(
        self, kube: Kube, namespace: str, job_manifest: Manifest
    ) -> None:
        script = "import os, sys; sys.exit(0 if os.environ['POD'].endswith('-3') else 1)"
        manifest = job_manifest("stubborn", script, backoff_limit=2, restart_policy="Never")
        name = {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
        manifest["spec"]["job"]["spec"]["containers"][0]["env"] = [name]
        kube.create(manifest, namespace)
        job = kube.wait(JOBS, "stubborn", namespace, until=finished, timeout=120)
        assert reasons(job) == SUCCESS
        assert_status(
            job,
            jobStatus="Successful",
            clusterName="stubborn",
            jobRunnerPodName="stubborn-runner-3",
            attempts=3,
        )
        pods = kube.wait_all("pods", namespace, until=lambda pods: len(pods) == 3)
        assert {name: pod["status"]["phase"] for name, pod in pods.items()} == {
            "stubborn-runner": "Failed",
            "stubborn-runner-2": "Failed",
            "stubborn-runner-3": "Succeeded",
        }

    def test_it_exceeds_its_deadline(self, kube: Kube, namespace: str, job_manifest: Manifest) -> None:
        kube.create(job_manifest("slow", SLEEP, active_deadline_seconds=8), namespace)
        job = kube.wait(JOBS, "slow", namespace, until=finished)
        assert reasons(job) == failure("DeadlineExceeded")
        assert_status(job, jobStatus="Failed", clusterName="slow", jobRunnerPodName="slow-runner", attempts=1)
        kube.gone(DASK_CLUSTERS, "slow", namespace)
        kube.wait_all("pods", namespace, until=lambda pods: not pods)

    def test_a_cluster_that_never_becomes_ready_is_bounded_by_the_deadline(
        self, kube: Kube, namespace: str, job_manifest: Manifest
    ) -> None:
        manifest = job_manifest("waiting", "", active_deadline_seconds=5)
        scheduler = manifest["spec"]["cluster"]["spec"]["scheduler"]["spec"]["containers"][0]
        scheduler["readinessProbe"] = {"exec": {"command": ["false"]}, "periodSeconds": 1}
        kube.create(manifest, namespace)
        job = kube.wait(JOBS, "waiting", namespace, until=finished)
        assert reasons(job) == failure("DeadlineExceeded")
        assert "startTime" not in job["status"]
        assert "jobRunnerPodName" not in job["status"]
        assert_status(job, jobStatus="Failed", clusterName="waiting", attempts=0)

    def test_it_is_suspended_before_it_starts(
        self, kube: Kube, namespace: str, job_manifest: Manifest
    ) -> None:
        kube.create(job_manifest("later", "", suspend=True, active_deadline_seconds=60), namespace)
        job = kube.wait(
            JOBS,
            "later",
            namespace,
            until=lambda job: "Suspended" in str(job.get("status", {}).get("conditions")),
        )
        assert reasons(job)["Suspended"] == ("True", "JobSuspended")
        assert_status(job, jobStatus="JobCreated", attempts=0)
        assert kube.list("pods", namespace) == []
        assert kube.list(DASK_CLUSTERS, namespace) == []

        kube.patch(JOBS, "later", {"spec": {"suspend": False}}, namespace)
        job = kube.wait(JOBS, "later", namespace, until=finished)
        assert reasons(job) == SUCCESS | RESUMED
        assert_status(
            job, jobStatus="Successful", clusterName="later", jobRunnerPodName="later-runner", attempts=1
        )

    def test_it_is_suspended_while_it_runs(self, kube: Kube, namespace: str, job_manifest: Manifest) -> None:
        script = "import os, time; time.sleep(600 if os.environ['POD'].endswith('runner') else 0)"
        manifest = job_manifest("paused", script, backoff_limit=0)
        name = {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
        manifest["spec"]["job"]["spec"]["containers"][0]["env"] = [name]
        kube.create(manifest, namespace)
        kube.wait(JOBS, "paused", namespace, until=runs)

        kube.patch(JOBS, "paused", {"spec": {"suspend": True}}, namespace)
        kube.wait_all("pods", namespace, until=lambda pods: not pods)
        kube.gone(DASK_CLUSTERS, "paused", namespace)
        job = kube.get(JOBS, "paused", namespace)
        assert_status(job, jobStatus="JobCreated", attempts=1)
        assert "startTime" not in job["status"]

        kube.patch(JOBS, "paused", {"spec": {"suspend": False}}, namespace)
        job = kube.wait(JOBS, "paused", namespace, until=finished)
        assert reasons(job) == SUCCESS | RESUMED
        assert_status(
            job, jobStatus="Successful", clusterName="paused", jobRunnerPodName="paused-runner-2", attempts=2
        )

    def test_it_uses_a_cluster_and_leaves_it(
        self, kube: Kube, namespace: str, job_manifest: Manifest, idle_cluster_manifest: Manifest
    ) -> None:
        kube.create(job_manifest("guest", "", cluster_name="host"), namespace)
        job = kube.wait(JOBS, "guest", namespace, until=lambda job: job.get("status", {}).get("conditions"))
        kube.create(idle_cluster_manifest("host", n_workers=1), namespace)
        job = kube.wait(JOBS, "guest", namespace, until=finished)
        assert reasons(job) == SUCCESS
        assert_status(
            job, jobStatus="Successful", clusterName="host", jobRunnerPodName="guest-runner", attempts=1
        )
        kube.delete(JOBS, "guest", namespace)
        kube.gone("pods", "guest-runner", namespace)
        assert is_running(kube.get(DASK_CLUSTERS, "host", namespace))
        assert "ownerReferences" not in kube.get(DASK_CLUSTERS, "host", namespace)["metadata"]

    def test_a_lost_scheduler_is_one_attempt(
        self, kube: Kube, namespace: str, job_manifest: Manifest
    ) -> None:
        script = "import os, time; time.sleep(600 if os.environ['POD'].endswith('runner') else 0)"
        manifest = job_manifest("orphan", script, backoff_limit=1)
        name = {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
        manifest["spec"]["job"]["spec"]["containers"][0]["env"] = [name]
        kube.create(manifest, namespace)
        kube.wait(JOBS, "orphan", namespace, until=runs)

        kube.delete("pods", "orphan-scheduler", namespace)

        job = kube.wait(JOBS, "orphan", namespace, until=finished)
        assert_status(
            job, jobStatus="Successful", clusterName="orphan", jobRunnerPodName="orphan-runner-2", attempts=2
        )

    def test_it_waits_for_workers(self, kube: Kube, namespace: str, job_manifest: Manifest) -> None:
        manifest = job_manifest("crew", "", min_ready_workers=2)
        manifest["spec"]["cluster"]["spec"]["worker"]["replicas"] = 1
        kube.create(manifest, namespace)
        kube.wait(
            JOBS, "crew", namespace, until=lambda job: "1 of 2 workers are ready" in str(job.get("status"))
        )
        assert kube.find("pods", "crew-runner", namespace) is None
        kube.patch(DASK_CLUSTERS, "crew", {"spec": {"worker": {"replicas": 2}}}, namespace)
        job = kube.wait(JOBS, "crew", namespace, until=finished)
        assert job["status"]["jobStatus"] == "Successful"

    def test_it_goes_after_its_time_to_live(self, kube: Kube, namespace: str, job_manifest: Manifest) -> None:
        kube.create(job_manifest("brief", "", ttl_seconds_after_finished=1), namespace)
        kube.wait(JOBS, "brief", namespace, until=finished)
        kube.gone(JOBS, "brief", namespace)
        kube.wait_all("pods", namespace, until=lambda pods: not pods)

    def test_the_cluster_stays_if_it_is_not_to_be_cleaned_up(
        self, kube: Kube, namespace: str, job_manifest: Manifest
    ) -> None:
        kube.create(
            job_manifest("tidy", "raise SystemExit(1)", backoff_limit=0, cleanup_policy="OnSuccess"),
            namespace,
        )
        kube.wait(JOBS, "tidy", namespace, until=finished)
        assert is_running(kube.get(DASK_CLUSTERS, "tidy", namespace))
        kube.delete(JOBS, "tidy", namespace)
        kube.gone(DASK_CLUSTERS, "tidy", namespace)

    def test_labels_and_annotations_reach_pod_and_cluster(
        self, kube: Kube, namespace: str, job_manifest: Manifest
    ) -> None:
        manifest = job_manifest("marked", SLEEP, labels={"team": "blue"}, annotations={"note": "n"})
        manifest["spec"]["job"]["metadata"] = {"labels": {"team": "runner"}}
        kube.create(manifest, namespace)
        kube.wait(JOBS, "marked", namespace, until=runs)
        runner = kube.get("pods", "marked-runner", namespace)["metadata"]
        scheduler = kube.get("pods", "marked-scheduler", namespace)["metadata"]
        assert (runner["labels"]["team"], runner["annotations"]["note"]) == ("runner", "n")
        assert (scheduler["labels"]["team"], scheduler["annotations"]["note"]) == ("blue", "n")
        assert runner["labels"]["dask.org/component"] == "job-runner"

        kube.patch(JOBS, "marked", {"metadata": {"labels": {"team": "red"}}}, namespace)
        kube.wait(
            "pods",
            "marked-scheduler",
            namespace,
            until=lambda pod: pod["metadata"]["labels"]["team"] == "red",
        )


def assert_status(job: Object, **expected: Any) -> None:
    """The whole status but conditions, and times that are of the right form and order."""
    status = dict(job["status"])
    del status["conditions"]
    assert status.pop("observedGeneration") == job["metadata"]["generation"]
    if expected["jobStatus"] in ("Successful", "Failed"):
        assert (
            seconds_between({"status": {**status, "c": job["metadata"]["creationTimestamp"]}}, "c", "endTime")
            >= 0
        )
        assert status.pop("endTime").endswith("Z")
    if "startTime" in status:
        assert status.pop("startTime").endswith("Z")
    assert status == expected


@dataclass
class Many:
    """Jobs of all sorts, and how each has to end."""

    manifests: dict[str, Object] = field(default_factory=dict)
    ends: dict[str, tuple[str, str]] = field(default_factory=dict)


@pytest.fixture
def many(job_manifest: Manifest) -> Callable[[int], Many]:
    sorts: list[tuple[str, dict[str, Any], tuple[str, str]]] = [
        ("print('done')", {}, ("Successful", "Completed")),
        ("raise SystemExit(7)", {"backoff_limit": 0}, ("Failed", "BackoffLimitExceeded")),
        (SLEEP, {"active_deadline_seconds": 20}, ("Failed", "DeadlineExceeded")),
        ("raise SystemExit(7)", {"restart_policy": "Never"}, ("Failed", "PodFailed")),
        ("import time; time.sleep(3)", {"cleanup_policy": "OnSuccess"}, ("Successful", "Completed")),
    ]

    def make(count: int) -> Many:
        found = Many()
        for number in range(count):
            script, options, end = sorts[number % len(sorts)]
            name = f"job-{number}"
            found.manifests[name] = job_manifest(name, script, **options)
            found.ends[name] = end
        return found

    return make


@pytest.mark.usefixtures("controller")
@pytest.mark.parametrize("count", [3, pytest.param(20, marks=pytest.mark.full)])
def test_many_jobs_at_once_all_end_as_they_should(
    kube: Kube, namespace: str, many: Callable[[int], Many], count: int
) -> None:
    jobs = many(count)
    for manifest in jobs.manifests.values():
        kube.create(manifest, namespace)

    found = kube.wait_all(
        JOBS, namespace, until=lambda found: all(finished(job) for job in found.values()), timeout=240
    )

    ends = {
        name: (job["status"]["jobStatus"], next(iter(job["status"]["conditions"]))["reason"])
        for name, job in found.items()
    }
    assert ends == jobs.ends
    kube.wait_all(DASK_CLUSTERS, namespace, until=lambda clusters: not clusters)
    kube.wait_all("pods", namespace, until=lambda pods: all("-runner" in name for name in pods))
