"""The manifests, applied by kubectl alone."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from dask_k8s_local import LocalKubernetes
from tests.conformance.kubectl import need_kubectl
from tests.conftest import is_local
from tests.e2e.conftest import DASK_CLUSTERS, is_running
from tests.e2e.test_chart import RELEASE, SYSTEM, await_operator
from tests.harness.helm import command_in
from tests.harness.kube import Kube, Object
from tests.harness.pages import blocks_of

PROJECT = Path(__file__).parents[2]
MANIFESTS = PROJECT / "manifests"
FOLDERS = ("base", "overlays/highly-available", "overlays/single-namespace")

Run = Callable[..., str]


@pytest.fixture
def kubectl() -> Run:
    need_kubectl()

    def run(*arguments: str, kubeconfig: Path | None = None) -> str:
        options = [f"--kubeconfig={kubeconfig}"] if kubeconfig else []
        done = subprocess.run(["kubectl", *options, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def documents(text: str) -> list[Object]:
    return [found for found in yaml.load_all(text, Loader=yaml.CSafeLoader) if found]


def validate(objects: list[Object]) -> None:
    for item in objects:
        if item["kind"] != "CustomResourceDefinition":
            kubernetes_validate.validate(item, "1.37.0", strict=True)


def test_they_are_what_the_chart_renders() -> None:
    command = [sys.executable, "manifests/generate.py", "--check"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_tenant_can_apply_the_namespaced_ones() -> None:
    objects = documents((MANIFESTS / "install-namespaced.yaml").read_text())
    validate(objects)
    assert {item["metadata"].get("namespace") for item in objects} == {"my-namespace"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_kustomize_builds_valid_objects(kubectl: Run, folder: str) -> None:
    objects = documents(kubectl("kustomize", str(MANIFESTS / folder)))
    validate(objects)
    kinds = [item["kind"] for item in objects]
    assert kinds.count("CustomResourceDefinition") == 4
    (deployment,) = (item for item in objects if item["kind"] == "Deployment")
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    match folder:
        case "overlays/highly-available":
            assert deployment["spec"]["replicas"] == 2
            assert "PodDisruptionBudget" in kinds
        case "overlays/single-namespace":
            assert "ClusterRoleBinding" not in kinds
            assert container["args"] == ["--namespace=my-namespace"]
            assert "dask-operator" not in json.dumps([one for one in objects if one is not deployment])
        case _:
            assert container["args"] == ["--all-namespaces"]


def test_kubectl_apply_alone_gives_a_working_operator(
    kubectl: Run, pytestconfig: pytest.Config, cluster_manifest: Callable[..., Object]
) -> None:
    if not is_local(pytestconfig):
        pytest.skip("another Kubernetes needs an image of this version, and has definitions of its own")
    with LocalKubernetes(addons=()) as kubernetes, Kube.from_kubeconfig(kubernetes.kubeconfig) as kube:
        for _ in range(2):
            kubectl("apply", "-f", str(MANIFESTS / "install.yaml"), kubeconfig=kubernetes.kubeconfig)
        assert kube.get("deployments.apps", RELEASE, SYSTEM)["metadata"]["generation"] == 1
        await_operator(kube, RELEASE, SYSTEM)
        kube.create(cluster_manifest("simple", n_workers=1), "default")
        kube.wait(
            DASK_CLUSTERS,
            "simple",
            "default",
            until=lambda found: is_running(found) and found["status"].get("readyReplicas") == 1,
        )


@pytest.mark.full
@pytest.mark.usefixtures("kubectl")
def test_a_release_with_a_generated_name_and_what_helm_renders_work(
    pytestconfig: pytest.Config, cluster_manifest: Callable[..., Object], tmp_path: Path
) -> None:
    """The commands of dask-kubernetes' pages, as ours about installing has them."""
    if not is_local(pytestconfig):
        pytest.skip("another Kubernetes needs an image of this version, and has definitions of its own")
    named, template = [
        block
        for block in blocks_of("docs/installing.md", "console")
        if "test_a_release_with_a_generated_name" in block.run_by
    ]
    with LocalKubernetes(addons=()) as kubernetes, Kube.from_kubeconfig(kubernetes.kubeconfig) as kube:

        def type_in(*commands: str) -> None:
            path = os.pathsep.join([command_in(tmp_path), os.environ["PATH"]])
            done = subprocess.run(
                ["bash", "-e", "-o", "pipefail", "-c", "\n".join(commands)],
                cwd=PROJECT,
                env={**os.environ, "PATH": path, "KUBECONFIG": str(kubernetes.kubeconfig)},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            shutil.rmtree(tmp_path / "tools")

        type_in(*named)
        [deployment] = kube.list("deployments.apps", SYSTEM)
        release = deployment["metadata"]["name"]
        assert re.fullmatch(rf"{RELEASE}-\d+", release)
        await_operator(kube, release, SYSTEM)
        type_in(f"helm uninstall -n {SYSTEM} {release}")

        type_in(*template)
        await_operator(kube, RELEASE, SYSTEM)
        kube.create(cluster_manifest("simple", n_workers=1), "default")
        kube.wait(DASK_CLUSTERS, "simple", "default", until=is_running)
