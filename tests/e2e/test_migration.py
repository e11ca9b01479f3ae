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
from tests.conftest import a_namespace
from tests.e2e.conftest import DASK_CLUSTERS, is_running
from tests.e2e.test_chart import await_operator
from tests.e2e.test_scaling import await_workers, executions, scale
from tests.harness.helm import command_in
from tests.harness.kube import Kube, Object
from tests.harness.pages import PROJECT, blocks_of
from tests.harness.worker_tasks import sent_to

Run = Callable[..., subprocess.CompletedProcess[str]]
CommandLine = Callable[[Path], Run]

PAGE = "docs/migrating.md"
ELSEWHERE = "other-team"
COMPONENT = "app.kubernetes.io/component"

THEIR_CHART = """
import pathlib, dask_kubernetes
print(pathlib.Path(dask_kubernetes.__file__).parent / "operator/deployment/helm/dask-kubernetes-operator")
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


def uids(kube: Kube, namespace: str = "") -> set[str]:
    return {pod["metadata"]["uid"] for pod in kube.list("pods", namespace, "dask.org/cluster-name")}


def manifest(workers: int) -> Object:
    cluster = make_cluster_spec(name="moved", image="ghcr.io/dask/dask:latest", n_workers=workers)
    del cluster["spec"]["worker"]["spec"]["containers"][0]["env"]  # Theirs refuses an empty list.
    return cluster


def made_by_their_operator(kube: Kube, namespace: str, workers: int) -> None:
    kube.create(manifest(workers), namespace)
    kube.wait(DASK_CLUSTERS, "moved", namespace, until=is_running, timeout=120)
    kube.wait_all(
        "pods", namespace, until=lambda pods: sum(map(is_ready, pods.values())) == workers + 1, timeout=120
    )


@pytest.mark.full
@pytest.mark.timeout(900)
def test_clusters_with_results_are_taken_over_without_a_restart(
    their_python: Path, command_line: CommandLine
) -> None:
    [shown] = [block for block in blocks_of(PAGE, "console") if "migrate" in block.text]
    _, uninstall, definitions, install, dry_run, migrate = (line.partition(" #")[0] for line in shown)
    with LocalKubernetes(addons=()) as local, Kube.from_kubeconfig(local.kubeconfig) as kube:
        run = command_line(local.kubeconfig)
        theirs = subprocess.run(
            [their_python, "-c", THEIR_CHART], capture_output=True, text=True, check=True
        ).stdout.strip()
        run(f"helm install -n dask-operator --create-namespace theirs {theirs}")
        kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ELSEWHERE}})
        with their_operator(their_python, local.kubeconfig):
            made_by_their_operator(kube, "default", workers=2)
            made_by_their_operator(kube, ELSEWHERE, workers=1)
            assert "definitions are still the other operator's" in run(migrate, fails=1).stderr
            run(uninstall)  # What serves the clusters goes on beside it: its pod has no image here.
            run(definitions)
        before = uids(kube)
        assert len(before) == 5
        refused = run(install.replace("--take-ownership", ""), fails=1).stderr
        assert "invalid ownership metadata" in refused
        run(install)
        await_operator(kube)
        assert uids(kube) == before
        with (
            KubeCluster.from_name("moved", kubeconfig=local.kubeconfig, quiet=True) as cluster,
            Client(cluster) as client,
        ):
            client.wait_for_workers(2, timeout=60)
            tasks = sent_to(client)
            results = client.map(tasks.make, range(20), pure=False)
            wait(results, timeout=60)

            planned = run(dry_run).stdout
            assert uids(kube) == before
            assert kube.list("deployments.apps", "default")
            done = run(migrate).stdout

            assert {"default/moved:", f"{ELSEWHERE}/moved:"} < set(done.splitlines())
            assert sorted(line for line in done.splitlines() if "adopt" in line) == sorted(
                line for line in planned.splitlines() if "adopt" in line
            )
            for namespace in ("default", ELSEWHERE):
                assert not kube.list("deployments.apps", namespace)
                kube.wait(DASK_CLUSTERS, "moved", namespace, until=is_ready, timeout=60)
            assert uids(kube) == before
            scale(kube, "default", "moved-default", 3)
            client.wait_for_workers(3, timeout=60)
            scale(kube, "default", "moved-default", 1)
            await_workers(kube, "default", "moved", 1)
            assert sorted(number for number, _ in client.gather(results)) == [*range(20)]
            assert set(executions(client).values()) == {1}
            scale(kube, ELSEWHERE, "moved-default", 2)
            await_workers(kube, ELSEWHERE, "moved", 2)
            assert "No cluster in any namespace" in run(migrate).stderr
            for namespace in ("default", ELSEWHERE):
                kube.delete(DASK_CLUSTERS, "moved", namespace)
                kube.gone(DASK_CLUSTERS, "moved", namespace)


def test_it_waits_until_the_other_operator_is_stopped(
    kube: Kube, kubeconfig: Path, namespace: str, crds: None, command_line: CommandLine
) -> None:
    """As its chart labels it. https://github.com/dask/dask-kubernetes/tree/main/dask_kubernetes/operator/deployment/helm"""
    run = command_line(kubeconfig)
    labels = {"app.kubernetes.io/name": "dask-kubernetes-operator", "app.kubernetes.io/instance": "theirs"}
    operator = as_theirs("any")
    operator["metadata"] = {"name": "their-operator", "labels": labels}
    kube.create(operator, namespace)
    run(f"dask kubernetes migrate -n {namespace}")
    nowhere = {"replicas": 1, "template": {"spec": {"nodeSelector": {"example.com/there": "nowhere"}}}}
    kube.patch("deployments.apps", "their-operator", {"spec": nowhere}, namespace)

    refused = run(f"dask kubernetes migrate -n {namespace}", fails=1).stderr

    remedy = f"kubectl scale --replicas=0 -n {namespace} deployment their-operator"
    assert f"the other operator still runs, and would make new pods: stop it first, by `{remedy}`" in refused
    kube.patch(
        "deployments.apps", "their-operator", {"metadata": {"labels": {COMPONENT: "operator"}}}, namespace
    )
    run(f"dask kubernetes migrate -n {namespace}")  # One with this label is ours.
    run(remedy)


def as_theirs(cluster: str) -> Object:
    """A Deployment as dask-kubernetes' operator makes one of a scheduler."""
    labels = {"dask.org/cluster-name": cluster, "dask.org/component": "scheduler"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": f"{cluster}-scheduler", "labels": labels},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "scheduler", "image": "ghcr.io/dask/dask:latest"}]},
            },
        },
    }


def test_clusters_of_all_namespaces_are_found_and_one_that_cannot_be_taken_over_holds_up_no_other(
    kube: Kube,
    kubeconfig: Path,
    namespace: str,
    crds: None,
    command_line: CommandLine,
    idle_cluster_manifest: Callable[..., Object],
) -> None:
    run = command_line(kubeconfig)
    suspended = idle_cluster_manifest("theirs-too", n_workers=0)
    suspended["spec"]["suspend"] = True
    with a_namespace(kube) as other:
        kube.create(as_theirs("deleted"), namespace)
        kube.create(suspended, other)
        kube.create(as_theirs("theirs-too"), other)

        found = run("dask kubernetes migrate --all-namespaces --dry-run", fails=1)

        assert f"{namespace}/deleted:" in found.stdout
        assert f"{namespace}/deleted: there is no DaskCluster deleted in {namespace}" in found.stderr
        assert "aren't taken over" in found.stderr
        assert f"{other}/theirs-too:\n  open the HTTP routes of the scheduler of theirs-too\n" in found.stdout
        assert "  orphan Deployment theirs-too-scheduler" in found.stdout
        alone = run(f"dask kubernetes migrate -n {other} --dry-run").stdout
        assert f"{other}/theirs-too:" in alone
        assert "deleted" not in alone
        both = run(f"dask kubernetes migrate --all-namespaces -n {other} deleted", fails=2).stderr
        assert "name clusters of one namespace" in both


def is_ready(found: Object) -> bool:
    conditions = found.get("status", {}).get("conditions") or ()
    return any((item["type"], item["status"]) == ("Ready", "True") for item in conditions)


@pytest.fixture
def command_line(tmp_path: Path) -> CommandLine:
    """Returns what runs commands in a shell, as the page shows them, for a kubeconfig."""
    search = [command_in(tmp_path), str(Path(sys.executable).parent), os.environ["PATH"]]

    def in_kubernetes(kubeconfig: Path) -> Run:
        environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "PATH": os.pathsep.join(search)}

        def run(command: str, *, fails: int = 0) -> subprocess.CompletedProcess[str]:
            found = subprocess.run(
                ["bash", "-c", f"set -o pipefail; {command}"],
                cwd=PROJECT,
                env=environment,
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert found.returncode == fails, found.stderr
            return found

        return run

    return in_kubernetes
