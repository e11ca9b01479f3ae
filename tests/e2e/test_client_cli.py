"""``dask kubernetes`` as a shell's user knows it; all tests but the last use one cluster."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import dask
import distributed
import httpx
import pytest
import yaml
from click.testing import CliRunner
from distributed import Client

from dask_k8s_client import KubeCluster, make_cluster_spec
from dask_k8s_client.cli import kubernetes
from tests.conformance.kubectl import need_kubectl
from tests.conftest import a_namespace, is_local
from tests.e2e.conftest import DASK_CLUSTERS, WORKER_GROUPS, is_running, pods_of
from tests.harness.installed import InstalledController
from tests.harness.kube import Kube, Object
from tests.harness.shells import Tab, shell_path


class Shell:
    """Runs commands in a namespace."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def run(self, command: str, *arguments: str, fails: int = 0) -> str:
        """Return what a command has written; on its standard error if it was to fail."""
        given = [command, *arguments, *([] if command == "gen" else ["-n", self.namespace])]
        result = CliRunner().invoke(kubernetes, given)
        assert result.exit_code == fails, result.output
        return result.stderr if fails else result.stdout

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-u", "-m", "dask", "kubernetes", *arguments, "-n", self.namespace]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def interrupted(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Press Ctrl-C; return the exit code and what it complained about."""
    process.send_signal(signal.SIGINT)
    _, complaints = process.communicate(timeout=30)
    return process.returncode, complaints


@pytest.fixture(scope="module")
def shell(kube: Kube, controller: InstalledController, dask_image: str) -> Iterator[Shell]:
    """A namespace with a cluster that the command line made: a scheduler, and no workers."""
    with a_namespace(kube) as namespace, controller.serves(namespace):
        shell = Shell(namespace)
        manifest = shell.run("gen", "cluster", "--name", "typed", "--n-workers", "0", "--image", dask_image)
        kube.create(yaml.safe_load(manifest), namespace)
        kube.wait(DASK_CLUSTERS, "typed", namespace, until=is_running)
        yield shell


def test_clusters_are_listed(shell: Shell) -> None:
    head, row = shell.run("ls").splitlines()
    assert head.split() == ["NAME", "STATUS", "WORKERS", "AGE"]
    assert row.split()[:3] == ["typed", "Running", "0/0"]


def test_a_wide_list_tells_the_addresses(shell: Shell) -> None:
    [row] = shell.run("ls", "-o", "wide").splitlines()[1:]
    assert row.split()[-2:] == [
        f"tcp://typed-scheduler.{shell.namespace}.svc:8786",
        f"http://typed-scheduler.{shell.namespace}.svc:8787",
    ]


@pytest.mark.parametrize(("form", "read"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_programs_read_lists(shell: Shell, form: str, read: Callable[[str], Object]) -> None:
    [cluster] = read(shell.run("ls", "-o", form))["items"]
    assert cluster["metadata"]["name"] == "typed"
    assert "managedFields" not in cluster["metadata"]


def test_names_are_what_kubectl_takes(shell: Shell) -> None:
    assert shell.run("ls", "-o", "name") == "daskcluster.kubernetes.dask.org/typed\n"


def test_clusters_of_all_namespaces_are_listed_with_theirs(shell: Shell) -> None:
    assert [shell.namespace, "typed"] in [row.split()[:2] for row in shell.run("ls", "-A").splitlines()]


def test_ports_are_forwarded_until_ctrl_c(shell: Shell) -> None:
    forwarding = shell.start("port-forward", "typed")
    assert forwarding.stdout is not None
    scheduler = forwarding.stdout.readline().removeprefix("Scheduler at: ").strip()
    dashboard = forwarding.stdout.readline().removeprefix("Dashboard at: ").strip()
    with Client(scheduler, timeout=30) as client:
        assert client.scheduler_info()["type"] == "Scheduler"
    assert httpx.get(dashboard.replace("/status", "/health"), timeout=30).text == "ok"
    assert interrupted(forwarding) == (0, "Press Ctrl-C to stop.\n")


@pytest.fixture(params=["bash", "zsh", "fish"])
def tab(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tab:
    """A shell that has the script of its completion, and the programs that the wheel installs."""
    path = shell_path(request.param)
    if path is None and "CI" not in os.environ:
        pytest.skip(f"there is no {request.param} here: make shells")
    assert path is not None
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    return Tab(request.param, path, tmp_path)


@pytest.mark.parametrize("program", ["kubectl-dask", pytest.param("dask kubernetes", marks=pytest.mark.full)])
def test_commands_and_clusters_are_completed(shell: Shell, tab: Tab, program: str) -> None:
    assert "port-forward" in tab.becomes(f"{program} po", "port-forward")
    in_namespace = f"{program} top -n {shell.namespace}"
    assert "typed" in tab.becomes(f"{in_namespace} ty", f"{in_namespace} typed")


def test_kubectl_completes_clusters(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """By ``kubectl_complete-dask``, which kubectl finds on the PATH."""
    need_kubectl()
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))

    def completed(*words: str) -> list[str]:
        asked = ["kubectl", "__complete", "dask", *words]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()

    assert completed("delete", "-n", shell.namespace, "ty") == ["typed\tRunning", ":4"]
    assert completed("delete", "-n", shell.namespace, "typed", "") == [":4"], "nothing is deleted twice"
    assert completed("logs", "-n", shell.namespace, "other") == [":4"]
    assert completed("top", "--kubeconfig", "/nowhere", "") == [":4"], "no error gets in the way of typing"


def test_workers_are_shown_once_and_again(kube: Kube, shell: Shell) -> None:
    kube.patch(DASK_CLUSTERS, "typed", {"spec": {"worker": {"replicas": 1}}}, shell.namespace)
    try:
        [pod] = kube.wait_all(
            "pods",
            shell.namespace,
            until=lambda pods: len(pods) == 1,
            labelSelector="dask.org/component=worker",
        )
        with KubeCluster.from_name("typed", namespace=shell.namespace, quiet=True) as cluster:
            cluster.wait_for_workers(1, timeout=120)
        [usage] = json.loads(shell.run("top", "typed", "--once", "-o", "json"))
        assert (usage["name"], usage["tasks"]) == (pod, 0)
        assert usage["memory"] > 0
        following = shell.start("top", "typed", "--interval", "0.1")
        assert following.stdout is not None
        heads = [line for line in itertools.islice(following.stdout, 4) if line.startswith("WORKER")]
        assert len(heads) == 2
        assert interrupted(following) == (130, "")
    finally:
        kube.patch(DASK_CLUSTERS, "typed", {"spec": {"worker": {"replicas": 0}}}, shell.namespace)
        kube.wait_all(
            "pods",
            shell.namespace,
            until=lambda pods: not pods,
            labelSelector="dask.org/component=worker",
        )


def test_usage_is_told_without_a_word_about_other_versions(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Warnings are errors here."""
    versions = distributed.versions.get_package_info
    monkeypatch.setattr(
        distributed.versions, "get_package_info", lambda names: {**versions(names), "python": "2.7"}
    )
    assert json.loads(shell.run("top", "typed", "--once", "-o", "json")) == []


def test_logs_are_printed_and_followed(shell: Shell) -> None:
    assert "Scheduler at:" in shell.run("logs", "typed")
    assert len(shell.run("logs", "typed", "--scheduler", "--tail", "1").splitlines()) == 1
    following = shell.start("logs", "typed", "-f", "--tail", "1")
    assert following.stdout is not None
    assert "distributed" in following.stdout.readline()
    assert interrupted(following) == (130, "")


def test_groups_are_scaled(shell: Shell, kube: Kube) -> None:
    assert shell.run("scale", "typed", "1") == "daskworkergroup typed-default scaled to 1\n"
    group = kube.get(WORKER_GROUPS, "typed-default", shell.namespace)
    assert group["spec"]["worker"]["replicas"] == 1
    shell.run("scale", "typed", "0")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("scale", "typed", "1", "-g", "gpu"), "no worker group 'gpu'; it has default"),
        (("scale", "nothing", "1"), "There is no cluster nothing"),
        (("logs", "nothing"), "`dask kubernetes ls` lists the clusters"),
        (("port-forward", "nothing"), "There is no cluster nothing"),
        (("delete", "nothing"), "There is no cluster nothing"),
    ],
)
def test_what_does_not_exist_is_named(shell: Shell, arguments: tuple[str, ...], message: str) -> None:
    complaint = shell.run(*arguments, fails=1)
    assert message in complaint
    assert complaint.startswith("Error: ")


def test_ports_are_not_forwarded_to_another_cluster_that_is_configured(shell: Shell) -> None:
    with dask.config.set({"kubernetes.custom-cluster-spec": make_cluster_spec("typed")}):
        assert "There is no cluster nothing" in shell.run("port-forward", "nothing", fails=1)


def test_deleting_waits_until_all_is_gone(
    shell: Shell, kube: Kube, idle_cluster_manifest: Callable[..., Object]
) -> None:
    kube.create(idle_cluster_manifest("doomed", n_workers=0), shell.namespace)
    kube.wait(DASK_CLUSTERS, "doomed", shell.namespace, until=is_running)

    assert shell.run("delete", "doomed") == "daskcluster doomed deleted\n"

    assert kube.find(DASK_CLUSTERS, "doomed", shell.namespace) is None
    kube.wait_all("pods", shell.namespace, until=lambda pods: not any("doomed" in name for name in pods))
    assert pods_of(kube, "typed", shell.namespace, "scheduler")


@pytest.mark.full
def test_a_local_kubernetes_runs_until_ctrl_c(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if not is_local(request.config):
        pytest.skip("the local Kubernetes is what this test is about")
    path = tmp_path / "kubeconfig.yaml"
    command = [sys.executable, "-u", "-m", "dask", "kubernetes", "local", "up", "--kubeconfig", str(path)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "Starting a Kubernetes …\n"
    assert any(f"export KUBECONFIG={path}" in line for line in process.stdout)
    told = list(itertools.takewhile(lambda line: not line.startswith("kubectl"), process.stdout))
    pasted = textwrap.dedent("".join(line for line in told if line.startswith("  ")))
    assert len(pasted.splitlines()) == 3
    [typed] = re.findall("`(.*)` in a third terminal", told[-1])
    meanwhile = f"""
import httpx, subprocess
httpx.get(cluster.dashboard_link).raise_for_status()
subprocess.run({typed.split()}, check=True)
"""
    printed = subprocess.run(
        [sys.executable, "-u", "-c", pasted + meanwhile],
        env={**os.environ, "KUBECONFIG": str(path)},
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    ).stdout
    assert re.search(r"^11 http://\S+\n(.*\n)+\S+ +Running ", printed, re.M), printed

    result = CliRunner().invoke(kubernetes, ["ls"], env={**os.environ, "KUBECONFIG": str(path)})
    assert (result.exit_code, result.stderr) == (0, "No Dask clusters in default.\n")

    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, complaints = process.communicate(timeout=60)
    assert (process.returncode, complaints) == (0, "")
    assert not path.exists()
