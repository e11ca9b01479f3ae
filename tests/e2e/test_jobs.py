"""DaskJobs from their manifests to their end, seen through the API server alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from dask_k8s_models import make_job_spec
from tests.e2e.conftest import DASK_CLUSTERS, Patience, is_running
from tests.harness.examples import documented
from tests.harness.kube import Kube, Object

JOBS = "daskjobs.kubernetes.dask.org"

Manifest = Callable[..., Object]

SLEEP = "import time; time.sleep(600)"


def python(script: str) -> list[str]:
    return ["python", "-c", script]


def finished(job: Object) -> bool:
    return job.get("status", {}).get("jobStatus") in ("Successful", "Failed")


def runs(job: Object) -> bool:
    return bool(job.get("status", {}).get("jobStatus") == "Running")


Conditions = dict[str, tuple[str, str, str]]

DONE = {"Reconciling": ("False", "NotReconciling", "")}
RESUMED = {"Suspended": ("False", "JobResumed", "spec.suspend is false.")}


def complete(pod: str) -> Conditions:
    return {
        "Complete": ("True", "Completed", f"The pod {pod} has succeeded."),
        "Ready": ("True", "Ready", "All is as it should be."),
        "Stalled": ("False", "NotStalled", ""),
        **DONE,
    }


def failed(reason: str, message: str) -> Conditions:
    why = (reason, message)
    return {"Failed": ("True", *why), "Ready": ("False", *why), "Stalled": ("True", *why), **DONE}


def suspended() -> Conditions:
    why = ("Suspended", "spec.suspend is true: there are no pods until it becomes false.")
    return {
        "Suspended": ("True", "JobSuspended", "spec.suspend is true."),
        "Ready": ("False", *why),
        "Reconciling": ("True", *why),
        "Stalled": ("False", "NotStalled", ""),
    }


def assert_status(
    job: Object, conditions: Conditions, *, times: tuple[str, ...] = ("startTime", "endTime"), **expected: Any
) -> None:
    """The status to its last field; of times, which there are, their form and their order."""
    status, generation = dict(job["status"]), job["metadata"]["generation"]
    found: list[Object] = status.pop("conditions")
    assert {item["type"]: (item["status"], item["reason"], item["message"]) for item in found} == conditions
    for item in found:
        assert item.keys() == {
            "type",
            "status",
            "reason",
            "message",
            "observedGeneration",
            "lastTransitionTime",
        }
        assert item["observedGeneration"] == generation
        seconds(item["lastTransitionTime"])
    happened = [seconds(status.pop(name)) for name in times]
    assert happened == sorted(happened)
    assert status == {"observedGeneration": generation, **expected}


def seconds(time: str) -> float:
    return datetime.strptime(time, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()


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


@pytest.mark.usefixtures("controller", "protocol")
class TestTheDocumentedJob:
    """What the documentation narrates, step by step."""

    @pytest.fixture
    def manifest(self, dask_image: str, protocol: str) -> Object:
        """The documented manifest, with some work to do."""
        job = documented("job.yaml", dask_image)
        work = (
            "from dask.distributed import Client; client = Client(); "
            "client.wait_for_workers(2, timeout=120); "
            "assert client.submit(sum, [1, 2, 3]).result(timeout=120) == 6; "
            "import time; time.sleep(2)"
        )
        job["spec"]["job"]["spec"]["containers"][0]["args"][-1] = work
        job["spec"]["cluster"]["spec"]["tls"] = {"enabled": protocol == "tls"}
        return job

    def test_runs_cleans_up_and_goes_with_everything(
        self, kube: Kube, namespace: str, manifest: Object, protocol: str
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
        assert env["DASK_SCHEDULER_ADDRESS"] == f"{protocol}://simple-job-scheduler.{namespace}.svc:8786"

        job = kube.wait(JOBS, "simple-job", namespace, until=finished, timeout=180)
        assert_status(
            job,
            complete("simple-job-runner"),
            jobStatus="Successful",
            clusterName="simple-job",
            jobRunnerPodName="simple-job-runner",
            attempts=1,
        )
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

        kube.wait_all("pods", namespace, until=lambda pods: not pods)
        assert kube.list(DASK_CLUSTERS, namespace) == []
        kube.wait_all("services", namespace, until=lambda found: not found)


@pytest.mark.usefixtures("controller")
class TestStories:
    """Jobs with one peculiarity each, asserted to the last field of their status."""

    @pytest.mark.namespaced
    def test_success(self, kube: Kube, namespace: str, job_manifest: Manifest) -> None:
        kube.create(job_manifest("fine", "print('done')"), namespace)
        job = kube.wait(JOBS, "fine", namespace, until=finished)
        assert_status(
            job,
            complete("fine-runner"),
            jobStatus="Successful",
            clusterName="fine",
            jobRunnerPodName="fine-runner",
            attempts=1,
        )
        kube.gone(DASK_CLUSTERS, "fine", namespace)

    def test_failure_tells_exit_code_and_last_words(
        self, kube: Kube, namespace: str, job_manifest: Manifest
    ) -> None:
        script = "import sys; print('no such table'); sys.exit(3)"
        kube.create(job_manifest("broken", script, backoff_limit=0), namespace)
        job = kube.wait(JOBS, "broken", namespace, until=finished)
        message = (
            "1 failure, and spec.backoffLimit is 0. "
            "The pod broken-runner failed: its container job ended with exit code 3: no such table"
        )
        assert_status(
            job,
            failed("BackoffLimitExceeded", message),
            jobStatus="Failed",
            clusterName="broken",
            jobRunnerPodName="broken-runner",
            attempts=1,
        )
        kube.gone(DASK_CLUSTERS, "broken", namespace)
        assert kube.get("pods", "broken-runner", namespace)["status"]["phase"] == "Failed"

    def test_it_is_restarted_until_it_succeeds(
        self, kube: Kube, namespace: str, job_manifest: Manifest
    ) -> None:
        script = (
            "import os, sys; again = os.path.exists('/work/0'); open('/work/0', 'w'); sys.exit(not again)"
        )
        manifest = job_manifest("patient", script)
        pod = manifest["spec"]["job"]["spec"]
        pod["volumes"] = [{"name": "work", "emptyDir": {}}]
        pod["containers"][0]["volumeMounts"] = [{"name": "work", "mountPath": "/work"}]
        kube.create(manifest, namespace)
        job = kube.wait(JOBS, "patient", namespace, until=finished)
        assert_status(
            job,
            complete("patient-runner"),
            jobStatus="Successful",
            clusterName="patient",
            jobRunnerPodName="patient-runner",
            attempts=1,
        )
        [container] = kube.get("pods", "patient-runner", namespace)["status"]["containerStatuses"]
        assert container["restartCount"] == 1

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
        assert_status(
            job,
            complete("stubborn-runner-3"),
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

    @pytest.mark.usefixtures("controller_at_work")
    def test_it_exceeds_its_deadline(
        self, kube: Kube, namespace: str, job_manifest: Manifest, patience: Patience
    ) -> None:
        limit = int(max(8, patience(3)))
        kube.create(job_manifest("slow", SLEEP, active_deadline_seconds=limit), namespace)
        job = kube.wait(JOBS, "slow", namespace, until=finished, timeout=300)
        message = f"The job has been active for longer than spec.activeDeadlineSeconds: {limit} s."
        assert_status(
            job,
            failed("DeadlineExceeded", message),
            jobStatus="Failed",
            clusterName="slow",
            jobRunnerPodName="slow-runner",
            attempts=1,
        )
        kube.gone(DASK_CLUSTERS, "slow", namespace)
        kube.wait_all("pods", namespace, until=lambda pods: not pods)

    @pytest.mark.usefixtures("controller_at_work")
    def test_a_cluster_that_never_becomes_ready_is_bounded_by_the_deadline(
        self, kube: Kube, namespace: str, job_manifest: Manifest
    ) -> None:
        manifest = job_manifest("waiting", "", active_deadline_seconds=5)
        scheduler = manifest["spec"]["cluster"]["spec"]["scheduler"]["spec"]["containers"][0]
        scheduler["readinessProbe"] = {"exec": {"command": ["false"]}, "periodSeconds": 1}
        kube.create(manifest, namespace)
        job = kube.wait(JOBS, "waiting", namespace, until=finished)
        message = "The job has been active for longer than spec.activeDeadlineSeconds: 5 s."
        assert_status(
            job,
            failed("DeadlineExceeded", message),
            times=("endTime",),
            jobStatus="Failed",
            clusterName="waiting",
            attempts=0,
        )

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
        assert_status(job, suspended(), times=(), jobStatus="JobCreated", attempts=0)
        assert kube.list("pods", namespace) == []
        assert kube.list(DASK_CLUSTERS, namespace) == []

        kube.patch(JOBS, "later", {"spec": {"suspend": False}}, namespace)
        job = kube.wait(JOBS, "later", namespace, until=finished)
        assert_status(
            job,
            complete("later-runner") | RESUMED,
            jobStatus="Successful",
            clusterName="later",
            jobRunnerPodName="later-runner",
            attempts=1,
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
        assert_status(job, suspended(), times=(), jobStatus="JobCreated", attempts=1)

        kube.patch(JOBS, "paused", {"spec": {"suspend": False}}, namespace)
        job = kube.wait(JOBS, "paused", namespace, until=finished)
        assert_status(
            job,
            complete("paused-runner-2") | RESUMED,
            jobStatus="Successful",
            clusterName="paused",
            jobRunnerPodName="paused-runner-2",
            attempts=2,
        )

    def test_it_uses_a_cluster_and_leaves_it(
        self, kube: Kube, namespace: str, job_manifest: Manifest, idle_cluster_manifest: Manifest
    ) -> None:
        kube.create(job_manifest("guest", "", cluster_name="host"), namespace)
        job = kube.wait(JOBS, "guest", namespace, until=lambda job: job.get("status", {}).get("conditions"))
        kube.create(idle_cluster_manifest("host", n_workers=1), namespace)
        job = kube.wait(JOBS, "guest", namespace, until=finished)
        assert_status(
            job,
            complete("guest-runner"),
            jobStatus="Successful",
            clusterName="host",
            jobRunnerPodName="guest-runner",
            attempts=1,
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
            job,
            complete("orphan-runner-2"),
            jobStatus="Successful",
            clusterName="orphan",
            jobRunnerPodName="orphan-runner-2",
            attempts=2,
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
        (SLEEP, {"active_deadline_seconds": 5}, ("Failed", "DeadlineExceeded")),
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
