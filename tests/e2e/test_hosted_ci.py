"""What hosted CI does in kind, as far as the local Kubernetes goes: it makes no image."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dask_k8s_local import LocalKubernetes
from tests.conformance.kubectl import need_kubectl
from tests.conftest import is_local
from tests.e2e.test_chart import CRDS
from tests.harness.helm import command_in
from tests.harness.kube import Kube
from tests.harness.pages import PROJECT


@pytest.mark.full
def test_the_operator_makes_a_cluster_installed_by_helm_and_by_manifests(
    pytestconfig: pytest.Config, dask_image: str, tmp_path: Path
) -> None:
    need_kubectl()
    if not is_local(pytestconfig):
        pytest.skip("hosted CI does so itself before the tests")
    with LocalKubernetes(addons=()) as local, Kube.from_kubeconfig(local.kubeconfig) as kube:
        search = [command_in(tmp_path), str(Path(sys.executable).parent), os.environ["PATH"]]
        done = subprocess.run(
            [".ci/installed", "registry.example.com/mine:of-today", dask_image],
            cwd=PROJECT,
            env={**os.environ, "KUBECONFIG": str(local.kubeconfig), "PATH": os.pathsep.join(search)},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        for name in ("by-helm", "by-manifests"):
            assert f"daskcluster.kubernetes.dask.org/{name} condition met" in done.stdout
        kube.gone(CRDS, "daskclusters.kubernetes.dask.org")
        kube.gone("namespaces", "dask-operator")
