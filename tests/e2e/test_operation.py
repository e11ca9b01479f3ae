"""The controller as whoever runs it meets it: its rights, plugins, probes, replicas, and many users."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import yaml

from dask_k8s_controller.kubernetes.rules import Where, rules
from tests.conformance.waiting import eventually
from tests.e2e.conftest import DASK_CLUSTERS, WORKER_GROUPS, is_running, pods_of
from tests.harness.accounts import RBAC, grant, kubeconfig_of
from tests.harness.controller import ControllerProcess
from tests.harness.flows import created_at_once
from tests.harness.kube import Kube, Object, Refused
from tests.harness.lab import Lab, a_lab

Manifest = Callable[..., Object]

PLUGIN = Path(__file__).parents[2] / "examples" / "plugin"
HOST_NAME = "external-dns.alpha.kubernetes.io/hostname"


@pytest.mark.usefixtures("alone")
class TestAlone:
    """With a controller of the test's own."""

    def test_health_metrics_and_a_graceful_stop(
        self,
        kube: Kube,
        kubeconfig: Path,
        namespace: str,
        idle_cluster_manifest: Manifest,
        free_port: int,
    ) -> None:
        url = f"http://127.0.0.1:{free_port}"
        with ControllerProcess(
            kubeconfig, f"--namespace={namespace}", f"--liveness={url}/healthz"
        ) as controller:
            kube.create(idle_cluster_manifest("probed"), namespace)
            kube.wait(DASK_CLUSTERS, "probed", namespace, until=is_running)
            kube.wait_all("pods", namespace, until=lambda pods: len(pods) == 3)
            assert httpx.get(f"{url}/healthz", timeout=5).status_code == 200
            # A request is counted when it's answered, which may be later than a watch tells of the pod.
            created = 'dask_controller_api_requests_total{code="201",kind="Pod",verb="create"} 3.0'
            metrics = eventually(
                lambda: httpx.get(f"{url}/metrics", timeout=5).text, until=lambda found: created in found
            )
            assert 'dask_controller_reconciles_total{kind="DaskCluster",result="success"}' in metrics
            start = time.monotonic()
            controller.stop()
            print(f"stopped within {time.monotonic() - start:.1f} s")
            assert time.monotonic() - start < 10
            assert "Traceback" not in controller.log

    def test_only_the_named_namespaces_are_its_business(
        self,
        kube: Kube,
        kubeconfig: Path,
        namespace: str,
        other_namespace: str,
        idle_cluster_manifest: Manifest,
    ) -> None:
        kube.create(idle_cluster_manifest("foreign"), other_namespace)
        with ControllerProcess(kubeconfig, f"--namespace={namespace}"):
            kube.create(idle_cluster_manifest("ours"), namespace)
            kube.wait(DASK_CLUSTERS, "ours", namespace, until=is_running)
            assert "phase" not in kube.get(DASK_CLUSTERS, "foreign", other_namespace).get("status", {})

    def test_a_role_of_one_namespace_is_enough(
        self, kube: Kube, kubeconfig: Path, namespace: str, tmp_path: Path, idle_cluster_manifest: Manifest
    ) -> None:
        grant(kube, namespace, rules(Where.WATCHED, Where.OUTSIDE), "controller")
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump(kubeconfig_of(kube, kubeconfig, namespace, "controller")))
        with Kube.from_kubeconfig(path) as limited, pytest.raises(Refused) as refused:
            limited.list("pods", "default")
        assert refused.value.code == 403

        with ControllerProcess(path, f"--namespace={namespace}") as controller:
            kube.create(idle_cluster_manifest("modest", n_workers=1), namespace)
            kube.wait(DASK_CLUSTERS, "modest", namespace, until=is_running)
            kube.wait_all("pods", namespace, until=lambda pods: len(pods) == 2)
            kube.patch(DASK_CLUSTERS, "modest", {"spec": {"worker": {"replicas": 2}}}, namespace)
            kube.wait_all("pods", namespace, until=lambda pods: len(pods) == 3)
            kube.delete("pods", "modest-scheduler", namespace)
            kube.wait_all(
                "pods",
                namespace,
                until=lambda pods: any(
                    pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]
                    for pod in pods.values()
                ),
                labelSelector="dask.org/component=scheduler",
            )
            assert "forbidden" not in controller.log.lower()

    def test_a_namespace_that_takes_its_rights_back_harms_no_other(
        self,
        kube: Kube,
        kubeconfig: Path,
        namespace: str,
        other_namespace: str,
        tmp_path: Path,
        idle_cluster_manifest: Manifest,
        free_port: int,
    ) -> None:
        url = f"http://127.0.0.1:{free_port}"
        rights = rules(Where.WATCHED, Where.OUTSIDE)
        for where in (namespace, other_namespace):
            grant(kube, where, rights, "controller", of=namespace)
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump(kubeconfig_of(kube, kubeconfig, namespace, "controller")))
        flags = (f"--namespace={namespace}", f"--namespace={other_namespace}", f"--liveness={url}/healthz")
        with ControllerProcess(path, *flags) as controller:
            kube.create(idle_cluster_manifest("before", n_workers=1), other_namespace)
            kube.wait(DASK_CLUSTERS, "before", other_namespace, until=is_running)
            kube.delete(f"rolebindings.{RBAC}", "controller", other_namespace)
            controller.stop()
            controller.start()
            kube.create(idle_cluster_manifest("ours", n_workers=1), namespace)
            kube.wait(DASK_CLUSTERS, "ours", namespace, until=is_running)
            kube.create(idle_cluster_manifest("theirs", n_workers=1), other_namespace)
            assert httpx.get(f"{url}/healthz", timeout=5).status_code == 200
            assert f"may not list pods in the namespace {other_namespace}" in controller.log
            assert "phase" not in kube.get(DASK_CLUSTERS, "theirs", other_namespace).get("status", {})
            grant(kube, other_namespace, rights, "controller", of=namespace)
            kube.wait(DASK_CLUSTERS, "theirs", other_namespace, until=is_running)

    def test_a_plugin_named_by_entry_point_is_loaded(
        self,
        kube: Kube,
        kubeconfig: Path,
        namespace: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        idle_cluster_manifest: Manifest,
    ) -> None:
        """The documented example, which acts when a scheduler's Service is created."""
        install_plugin(tmp_path)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
        monkeypatch.setenv("DASK_DASHBOARD_DOMAIN", "dask.test")
        host_name = f"plugged-scheduler.{namespace}.dask.test"
        with ControllerProcess(kubeconfig, f"--namespace={namespace}"):
            kube.create(idle_cluster_manifest("plugged"), namespace)
            kube.wait(
                "services",
                "plugged-scheduler",
                namespace,
                until=lambda service: service["metadata"].get("annotations", {}).get(HOST_NAME) == host_name,
            )
            kube.wait(DASK_CLUSTERS, "plugged", namespace, until=is_running)
            kube.wait_all("pods", namespace, until=lambda pods: len(pods) == 3)

    def test_a_second_replica_takes_over(
        self,
        kube: Kube,
        kubeconfig: Path,
        namespace: str,
        monkeypatch: pytest.MonkeyPatch,
        idle_cluster_manifest: Manifest,
    ) -> None:
        prefix = "DASK_KUBERNETES__CONTROLLER__LEADER_ELECTION__"
        for key, value in {
            "ENABLED": "true",
            "NAMESPACE": namespace,
            "DURATION": "3",
            "RENEWAL": "0.5",
        }.items():
            monkeypatch.setenv(prefix + key, value)
        leases = "leases.coordination.k8s.io"
        lease = "dask-kubernetes-operator"
        replicas = [ControllerProcess(kubeconfig, f"--namespace={namespace}") for _ in range(2)]
        with contextlib.ExitStack() as running:
            running.enter_context(replicas[0])
            leader = kube.wait(leases, lease, namespace, until=lambda found: found["spec"]["holderIdentity"])
            running.enter_context(replicas[1])
            kube.create(idle_cluster_manifest("first", n_workers=1), namespace)
            kube.wait(DASK_CLUSTERS, "first", namespace, until=is_running)

            start = time.monotonic()
            replicas[0].kill()
            kube.create(idle_cluster_manifest("second", n_workers=1), namespace)
            kube.wait(DASK_CLUSTERS, "second", namespace, until=is_running)
            print(f"taken over from a dead leader within {time.monotonic() - start:.1f} s, of a lease of 3 s")
            now = kube.get(leases, lease, namespace)
            assert now["spec"]["holderIdentity"] != leader["spec"]["holderIdentity"]
            kube.wait_all("pods", namespace, until=lambda pods: len(pods) == 4)


def install_plugin(folder: Path) -> None:
    """Install the package of examples/, built from a copy: building leaves files beside the sources."""
    source = shutil.copytree(PLUGIN, folder / "source")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    command = [*pip, "--disable-pip-version-check", "--target", str(folder / "site"), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("controller")
def test_applying_a_manifest_again_changes_nothing(
    kube: Kube, namespace: str, idle_cluster_manifest: Manifest
) -> None:
    body = idle_cluster_manifest("steady")
    kube.apply(body, namespace)
    kube.wait(
        DASK_CLUSTERS,
        "steady",
        namespace,
        until=lambda found: found["status"].get("readyReplicas") == 2 if is_running(found) else False,
    )
    pods = {pod["metadata"]["uid"] for pod in pods_of(kube, "steady", namespace)}
    group = kube.get(WORKER_GROUPS, "steady-default", namespace)["metadata"]["generation"]
    for _ in range(3):
        kube.apply(body, namespace)
    assert kube.get(DASK_CLUSTERS, "steady", namespace)["metadata"]["generation"] == 1
    assert kube.get(WORKER_GROUPS, "steady-default", namespace)["metadata"]["generation"] == group
    assert {pod["metadata"]["uid"] for pod in pods_of(kube, "steady", namespace)} == pods
    # As kubectl diff --server-side does it.
    live = kube.get(DASK_CLUSTERS, "steady", namespace)
    merged = kube.apply(body, namespace, dryRun="All")
    for found in (live, merged):
        found["metadata"].pop("managedFields", None)
    assert merged == live


@pytest.mark.usefixtures("controller")
def test_a_quota_is_told_in_kubernetes_own_words(
    kube: Kube, namespace: str, other_namespace: str, idle_cluster_manifest: Manifest
) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "few"},
        "spec": {"hard": {"pods": "2"}},
    }
    kube.create(quota, namespace)
    kube.wait("resourcequotas", "few", namespace, until=lambda found: found.get("status", {}).get("hard"))
    kube.create(idle_cluster_manifest("bounded", n_workers=3), namespace)

    def tells(found: Object) -> bool:
        conditions = {item["type"]: item for item in found.get("status", {}).get("conditions", ())}
        return (
            "exceeded quota" in conditions.get("Ready", {}).get("message", "")
            and "true" in (conditions["Stalled"]["status"] + conditions["Reconciling"]["status"]).lower()
        )

    kube.wait(WORKER_GROUPS, "bounded-default", namespace, until=tells)
    kube.wait(DASK_CLUSTERS, "bounded", namespace, until=tells)
    assert len(pods_of(kube, "bounded", namespace)) == 2

    kube.create(idle_cluster_manifest("free", n_workers=1), other_namespace)
    kube.wait(DASK_CLUSTERS, "free", other_namespace, until=is_running)
    kube.patch("resourcequotas", "few", {"spec": {"hard": {"pods": "4"}}}, namespace)
    kube.wait_all("pods", namespace, until=lambda pods: len(pods) == 4)


@pytest.mark.full
@pytest.mark.usefixtures("hasty")
def test_fifty_clusters_at_once_all_become_ready(lab: Lab) -> None:
    print(f"50 clusters of 2 workers: {created_at_once(lab, 50):.1f} s")


@pytest.mark.full
@pytest.mark.timeout(900)
def test_two_hundred_creates_with_random_latency(request: pytest.FixtureRequest) -> None:
    with a_lab(request, ready_after=(0.0, 2.0)) as lab, lab.controller():
        for _ in range(10):
            created_at_once(lab, 20)
