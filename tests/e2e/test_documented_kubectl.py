"""What the documentation tells of kubectl, step by step and in kubectl's words."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
import yaml
from distributed import Client

from tests.conformance.kubectl import Kubectl, need_kubectl
from tests.conformance.waiting import described, eventually
from tests.harness.examples import documented
from tests.harness.kube import Kube, Object

GROUP = "kubernetes.dask.org"
WORKER = re.compile(r"(.+)-worker-[0-9a-f]{10}")
JOBS_WORK = (
    "from dask.distributed import Client; client = Client(); "
    "client.wait_for_workers(2); assert client.submit(sum, [1, 2]).result() == 3"
)

T = TypeVar("T")
Write = Callable[[str, Object], str]


@pytest.fixture
def kubectl(kubeconfig: Path, kube: Kube, namespace: str, controller: object, tmp_path: Path) -> Kubectl:
    """kubectl in a namespace of the test's own, beside a controller."""
    need_kubectl()
    described(kube, f"{GROUP}/v1")
    return Kubectl(kubeconfig, namespace, tmp_path / "cache")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a manifest into a file, and return its path."""

    def write(name: str, manifest: Object) -> str:
        path = tmp_path / name
        path.write_text(yaml.safe_dump(manifest))
        return str(path)

    return write


def with_idle_workers(manifest: Object) -> Object:
    """Let workers only wait: there are many of them."""
    pod = manifest["spec"]["worker"]["spec"]
    pod["containers"][0]["args"] = ["sleep", "3600"]
    pod["terminationGracePeriodSeconds"] = 1
    return manifest


def says_deleted(written: str, resource: str, name: str, namespace: str) -> bool:
    """Newer kubectls name the namespace too."""
    words = f'{resource}.{GROUP} "{name}" deleted'
    return written in (f"{words}\n", f"{words} from {namespace} namespace\n")


def names(kubectl: Kubectl, *arguments: str) -> list[str]:
    """The first column, below its title."""
    return [row[0] for row in kubectl.rows("get", *arguments)[1:]]


def pods(kubectl: Kubectl, *arguments: str) -> list[tuple[str, ...]]:
    """What is shown of pods but their age, in order; workers under their group's name only."""
    return sorted(pod_of(line) for line in kubectl("get", "pods", "--no-headers", *arguments).splitlines())


def pod_of(line: str) -> tuple[str, ...]:
    name, ready, status, restarts = line.split()[:4]
    return WORKER.sub(r"\1-worker", name), ready, status, restarts


def sees(look: Callable[[], T], until: Callable[[T], object]) -> None:
    """Look as often as a user would: each look is a process."""
    eventually(look, until=until, every=0.5)


RUNNING = ("1/1", "Running", "0")


def test_a_cluster_its_groups_and_its_autoscaler(
    kubectl: Kubectl, write: Write, dask_image: str, namespace: str
) -> None:
    cluster = write("cluster.yaml", with_idle_workers(documented("cluster.yaml", dask_image)))
    of_cluster = ("-l", "dask.org/cluster-name=simple")
    scheduler, worker = ("simple-scheduler", *RUNNING), ("simple-default-worker", *RUNNING)

    assert kubectl("apply", "-f", cluster) == f"daskcluster.{GROUP}/simple created\n"
    title, row = kubectl.rows("get", "daskclusters")
    assert (title[0], title[-1], row[0]) == ("NAME", "AGE", "simple")
    sees(lambda: pods(kubectl, *of_cluster), until=lambda found: found == [worker] * 2 + [scheduler])
    title, row = kubectl.rows("get", "svc", *of_cluster)
    assert title == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]
    assert row[:2] == ["simple-scheduler", "NodePort"]
    assert re.fullmatch(r"8786:\d+/TCP,8787:\d+/TCP", row[4])
    before = set(names(kubectl, "po", *of_cluster))
    with (
        kubectl.forwarded("svc/simple-scheduler", 8786) as port,
        Client(f"tcp://localhost:{port}", timeout=60) as client,
    ):
        assert client.scheduler_info()["type"] == "Scheduler"

    scaled = kubectl("scale", "--replicas=5", "daskworkergroup", "simple-default")
    assert scaled == f"daskworkergroup.{GROUP}/simple-default scaled\n"
    sees(lambda: pods(kubectl, *of_cluster), until=lambda found: found == [worker] * 5 + [scheduler])
    assert before < set(names(kubectl, "po", *of_cluster))

    highmem = write("highmemworkers.yaml", with_idle_workers(documented("highmemworkers.yaml", dask_image)))
    assert kubectl("apply", "-f", highmem) == f"daskworkergroup.{GROUP}/simple-highmem created\n"
    assert names(kubectl, "daskworkergroups") == ["simple-default", "simple-highmem"]
    scaled = kubectl("scale", "--replicas=1", "daskworkergroup", "simple-highmem")
    assert scaled == f"daskworkergroup.{GROUP}/simple-highmem scaled\n"
    sees(
        lambda: names(kubectl, "po", "-l", "dask.org/workergroup-name=simple-highmem"),
        until=lambda found: len(found) == 1,
    )

    autoscaler = write("autoscaler.yaml", documented("autoscaler.yaml", dask_image))
    replicas = ("get", "daskworkergroup", "simple-default", "-o", "jsonpath={.spec.worker.replicas}")
    assert kubectl("apply", "-f", autoscaler) == f"daskautoscaler.{GROUP}/simple created\n"
    sees(lambda: kubectl(*replicas), until=lambda found: found == "1")
    assert says_deleted(kubectl("delete", "-f", autoscaler), "daskautoscaler", "simple", namespace)
    assert kubectl(*replicas) == "1"

    assert says_deleted(kubectl("delete", "-f", cluster), "daskcluster", "simple", namespace)
    sees(lambda: kubectl("get", "daskworkergroups,svc,pods", *of_cluster), until=lambda found: not found)
    kubectl("apply", "-f", cluster)
    assert says_deleted(kubectl("delete", "daskcluster", "simple"), "daskcluster", "simple", namespace)


@pytest.mark.full
def test_a_job(kubectl: Kubectl, write: Write, dask_image: str, namespace: str) -> None:
    manifest = documented("job.yaml", dask_image)
    manifest["spec"]["job"]["spec"]["containers"][0]["args"][-1] = JOBS_WORK
    job = write("job.yaml", manifest)
    runner, scheduler, worker = (
        f"simple-job-{component}" for component in ("runner", "scheduler", "default-worker")
    )

    with kubectl.lines("get", "pods", "--watch", "--no-headers") as lines:
        assert kubectl("apply", "-f", job) == f"daskjob.{GROUP}/simple-job created\n"
        seen: list[tuple[str, ...]] = []
        ends = [(worker, "1/1", "Terminating", "0"), (scheduler, "1/1", "Terminating", "0")]
        while not set(ends) <= set(seen):
            seen.append(pod_of(next(lines)))
    running = [(name, *RUNNING) for name in (scheduler, worker, runner)]
    completed = (runner, "0/1", "Completed", "0")
    assert {*running, completed, *ends} <= set(seen)
    assert seen.index(running[0]) < seen.index(running[-1]) < seen.index(completed)
    assert seen.index(completed) < min(map(seen.index, ends))
    sees(lambda: pods(kubectl), until=lambda found: found == [completed])

    assert says_deleted(kubectl("delete", "-f", job), "daskjob", "simple-job", namespace)
    sees(lambda: pods(kubectl), until=lambda found: not found)
