"""The example repository for Argo CD and Flux: what is in Git stays as it is, and its health is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.conformance.waiting import eventually
from tests.e2e.conftest import DASK_CLUSTERS, WORKER_GROUPS
from tests.e2e.test_manifests import Run, documents, kubectl  # noqa: F401 - a fixture
from tests.harness.gitops import EXAMPLES, HEALTH, argo, flux
from tests.harness.kube import Kube, Object

AUTOSCALERS = "daskautoscalers.kubernetes.dask.org"
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
    component = tmp_path / "dask"
    component.mkdir()
    for file in (EXAMPLES / "argocd").iterdir():
        (component / file.name).write_text(file.read_text())
    (tmp_path / "argocd-cm.yaml").write_text(yaml.safe_dump(installed))
    # A generator merges only with what a generator made; Argo CD's own is a resource.
    (tmp_path / "kustomization.yaml").write_text(
        yaml.safe_dump({"resources": ["argocd-cm.yaml"], "components": ["dask"]})
    )
    (merged,) = documents(kubectl("kustomize", str(tmp_path)))
    data = merged["data"]
    assert data.pop("url") == "https://argocd.example.com"
    assert len(data) == 4
    assert set(data.values()) == {HEALTH.read_text()}


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.yaml")), ids=lambda path: path.name)
def test_the_order_is_the_operator_first_and_nothing_is_ignored(path: Path) -> None:
    text = path.read_text()
    assert "ignoreDifferences" not in text
    for item in yaml.safe_load_all(text):
        if item["kind"] == "Application":
            wave = int(item["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"])
            assert (wave == 0) == (item["metadata"]["name"] == "dask-operator")
            assert "ServerSideApply=true" in item["spec"]["syncPolicy"]["syncOptions"]
        if item["kind"] == "Kustomization" and item.get("metadata", {}).get("name") == "dask-clusters":
            assert item["spec"]["dependsOn"] == [{"name": "dask-operator"}]
