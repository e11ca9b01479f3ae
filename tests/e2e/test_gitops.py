"""The example repository for Argo CD and Flux: what is in Git stays as it is, and its health is told."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from tests.conformance.waiting import eventually
from tests.e2e.conftest import DASK_CLUSTERS, WORKER_GROUPS
from tests.e2e.test_manifests import Run, documents, kubectl  # noqa: F401 - a fixture
from tests.harness.gitops import EXAMPLES, HEALTH, argo, flux
from tests.harness.kube import Kube, Object

AUTOSCALERS = "daskautoscalers.kubernetes.dask.org"
KINDS = ("DaskAutoscaler", "DaskCluster", "DaskJob", "DaskWorkerGroup")
OF_KIND = "resource.customizations.health."
DOCUMENTED_IMAGE = "ghcr.io/dask/dask:latest"


@pytest.mark.usefixtures("controller")
def test_what_is_in_git_stays_and_becomes_healthy(kube: Kube, namespace: str, dask_image: str) -> None:
    text = (EXAMPLES / "clusters" / "team.yaml").read_text().replace(DOCUMENTED_IMAGE, dask_image)
    desired = documents(text)

    def sync(**params: str) -> list[Object]:
        return [kube.apply(item, namespace, manager="argocd-controller", **params) for item in desired]

    sync()

    def live() -> list[Object]:
        return [
            kube.get(DASK_CLUSTERS, "team", namespace),
            kube.get(AUTOSCALERS, "team", namespace),
            kube.get(WORKER_GROUPS, "team-default", namespace),
        ]

    def are_healthy(items: list[Object]) -> bool:
        return items[2]["status"].get("readyReplicas") == 2 and all(
            argo(item)[0] == "Healthy" and flux(item) == "current" for item in items
        )

    cluster, autoscaler, group = eventually(live, until=are_healthy)
    assert group["spec"]["worker"]["replicas"] == 2, "the autoscaler's, though Git says nothing of it"
    for merged, found in zip(sync(dryRun="All"), (cluster, autoscaler), strict=True):
        for item in (merged, found):
            for noise in ("managedFields", "resourceVersion"):
                item["metadata"].pop(noise)
            item.pop("status", None)
        assert merged == found, "nothing has to be ignored"


def test_argo_cd_learns_the_health_of_each_kind(kubectl: Run, tmp_path: Path) -> None:  # noqa: F811
    installed = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "argocd-cm", "namespace": "argocd"},
        "data": {"url": "https://argocd.example.com"},
    }
    shutil.copytree(HEALTH, tmp_path / "dask")
    (tmp_path / "argocd-cm.yaml").write_text(yaml.safe_dump(installed))
    # A generator merges only with what a generator made; Argo CD's own is a resource.
    (tmp_path / "kustomization.yaml").write_text(
        yaml.safe_dump({"resources": ["argocd-cm.yaml"], "components": ["dask"]})
    )
    (merged,) = documents(kubectl("kustomize", str(tmp_path)))
    data = merged["data"]
    assert data.pop("url") == "https://argocd.example.com"
    assert data.pop(OF_KIND + "argoproj.io_Application") == (HEALTH / "application.lua").read_text()
    assert set(data) == {f"{OF_KIND}kubernetes.dask.org_{kind}" for kind in KINDS}
    assert set(data.values()) == {(HEALTH / "dask.lua").read_text()}


def sources() -> dict[str, str]:
    """The folders that Argo CD and Flux are told to sync, each with who says so."""
    found = {"flux": "flux bootstrap"}
    for path in sorted(EXAMPLES.rglob("*.yaml")):
        for item in yaml.safe_load_all(path.read_text()):
            if item["apiVersion"].startswith("kustomize.toolkit.fluxcd.io/"):
                found[item["spec"]["path"].removeprefix("./")] = item["metadata"]["name"]
            if item["kind"] == "Application" and "path" in item["spec"]["source"]:
                found[item["spec"]["source"]["path"]] = item["metadata"]["name"]
    return found


def built(kubectl: Run, folder: str, tmp_path: Path) -> list[Object]:  # noqa: F811
    """What a folder holds for GitOps tools, which take all manifests where there is no kustomization."""
    copy = shutil.copytree(EXAMPLES / folder, tmp_path / folder.replace("/", "-"))
    if not (copy / "kustomization.yaml").exists():
        names = sorted(path.name for path in copy.glob("*.yaml"))
        (copy / "kustomization.yaml").write_text(yaml.safe_dump({"resources": names}))
    return documents(kubectl("kustomize", str(copy)))


def test_each_folder_that_is_synced_can_be_built_and_none_is_left_out(
    kubectl: Run,  # noqa: F811
    tmp_path: Path,
) -> None:
    folders = sources()
    assert set(folders) == {"argocd/apps", "clusters", "flux", "flux/operator"}
    made = {
        (item["kind"], item["metadata"]["name"])
        for name in folders
        for item in built(kubectl, name, tmp_path)
    }
    there = {
        (item["kind"], item["metadata"]["name"])
        for path in EXAMPLES.rglob("*.yaml")
        for item in yaml.safe_load_all(path.read_text())
        if "metadata" in item and path.name != "root.yaml"
    }
    assert made == there
    (root,) = documents((EXAMPLES / "argocd" / "root.yaml").read_text())
    assert root["spec"]["source"]["path"] == "argocd/apps", "what is applied by hand makes all others"


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.yaml")), ids=lambda path: path.name)
def test_nothing_is_ignored(path: Path) -> None:
    assert "ignoreDifferences" not in path.read_text()


def test_the_order_is_the_operator_first(kubectl: Run, tmp_path: Path) -> None:  # noqa: F811
    """Argo CD goes on to the next wave when all of one is healthy, of objects that one Application has."""
    waves = {}
    for item in built(kubectl, "argocd/apps", tmp_path):
        waves[item["metadata"]["name"]] = int(item["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"])
        assert "ServerSideApply=true" in item["spec"]["syncPolicy"]["syncOptions"]
    assert waves["dask-operator"] < waves["dask-clusters"]
    (clusters,) = (
        item for item in built(kubectl, "flux", tmp_path) if item["metadata"]["name"] == "dask-clusters"
    )
    assert clusters["spec"]["dependsOn"] == [{"name": "dask-operator"}]
