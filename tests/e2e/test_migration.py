"""A live cluster of dask-kubernetes' operator is taken over: its results stay, and it is scaled."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from distributed import Client, wait

from dask_k8s_client import KubeCluster
from dask_k8s_local import LocalKubernetes
from dask_k8s_models import make_cluster_spec
from tests.e2e.conftest import DASK_CLUSTERS, is_running
from tests.e2e.test_scaling import await_workers, executions, scale
from tests.harness.controller import ControllerProcess
from tests.harness.kube import Kube, Object
from tests.harness.worker_tasks import sent_to

Run = Callable[..., subprocess.CompletedProcess[str]]

DEFINITIONS = """
import pathlib, dask_kubernetes
folder = pathlib.Path(dask_kubernetes.__file__).parent / "operator/deployment/helm"
for file in sorted(folder.glob("dask-kubernetes-operator/crds/*.yaml")):
    print("---", file.read_text(), sep="\\n")
"""


@contextmanager
def their_operator(python: Path, kubeconfig: Path) -> Iterator[None]:
    """Run dask-kubernetes' operator for a while."""
    command = [
        python.with_name("kopf"),
        "run",
        "-m",
        "dask_kubernetes.operator.controller",
        "--all-namespaces",
    ]
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield
        finally:
            process.terminate()


def uids(kube: Kube, namespace: str) -> set[str]:
    return {pod["metadata"]["uid"] for pod in kube.list("pods", namespace)}


def manifest() -> Object:
    cluster = make_cluster_spec(name="moved", image="ghcr.io/dask/dask:latest", n_workers=2)
    del cluster["spec"]["worker"]["spec"]["containers"][0]["env"]  # Theirs refuses an empty list.
    return cluster


@pytest.mark.full
@pytest.mark.timeout(900)
def test_a_cluster_with_results_is_taken_over_without_a_restart(their_python: Path) -> None:
    with LocalKubernetes(addons=()) as local, Kube.from_kubeconfig(local.kubeconfig) as kube:
        run = command_line(local.kubeconfig)
        theirs = subprocess.run(
            [their_python, "-c", DEFINITIONS], capture_output=True, text=True, check=True
        ).stdout
        run("kubectl", "create", "--field-manager=helm", "-f", "-", input=theirs)
        with their_operator(their_python, local.kubeconfig):
            kube.create(manifest(), "default")
            kube.wait(DASK_CLUSTERS, "moved", "default", until=is_running, timeout=120)
            kube.wait_all(
                "pods", "default", until=lambda pods: sum(map(is_ready, pods.values())) == 3, timeout=120
            )
        before = uids(kube, "default")
        ours = run("dask", "kubernetes", "crds").stdout
        run("kubectl", "apply", "--server-side", "--force-conflicts", "-f", "-", input=ours)
        with (
            ControllerProcess(local.kubeconfig),
            KubeCluster.from_name("moved", kubeconfig=local.kubeconfig, quiet=True) as cluster,
            Client(cluster) as client,
        ):
            client.wait_for_workers(2, timeout=60)
            tasks = sent_to(client)
            results = client.map(tasks.make, range(20), pure=False)
            wait(results, timeout=60)

            planned = run("dask", "kubernetes", "migrate", "--dry-run").stdout
            assert uids(kube, "default") == before
            assert kube.list("deployments.apps", "default")
            done = run("dask", "kubernetes", "migrate").stdout

            assert sorted(line for line in done.splitlines() if "adopt" in line) == sorted(
                line for line in planned.splitlines() if "adopt" in line
            )
            assert not kube.list("deployments.apps", "default")
            kube.wait(DASK_CLUSTERS, "moved", "default", until=is_ready, timeout=60)
            assert uids(kube, "default") == before
            scale(kube, "default", "moved-default", 3)
            client.wait_for_workers(3, timeout=60)
            scale(kube, "default", "moved-default", 1)
            await_workers(kube, "default", "moved", 1)
            assert sorted(number for number, _ in client.gather(results)) == [*range(20)]
            assert set(executions(client).values()) == {1}
            assert "No cluster here" in run("dask", "kubernetes", "migrate").stderr
            kube.delete(DASK_CLUSTERS, "moved", "default")
            kube.gone(DASK_CLUSTERS, "moved", "default")


def is_ready(found: Object) -> bool:
    conditions = found.get("status", {}).get("conditions") or ()
    return any((item["type"], item["status"]) == ("Ready", "True") for item in conditions)


def command_line(kubeconfig: Path) -> Run:
    """Return what runs commands against a cluster."""

    def run(program: str, *arguments: str, input: str | None = None) -> subprocess.CompletedProcess[str]:  # noqa: A002
        command = [str(Path(sys.executable).with_name("dask"))] if program == "dask" else [program]
        found = subprocess.run(
            [*command, *arguments],
            env={**os.environ, "KUBECONFIG": str(kubeconfig)},
            input=input,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert found.returncode == 0, found.stderr
        return found

    return run
