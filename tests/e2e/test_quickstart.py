"""The first lines of the README, tests of pipelines, and what a user does next."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from distributed import Client

from dask_k8s_client import KubeCluster
from tests.conftest import is_local
from tests.e2e.conftest import DASK_CLUSTERS, pods_of
from tests.harness.kube import Kube
from tests.harness.pages import python_of


def test_the_documented_tests_of_pipelines_pass(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if not is_local(request.config):
        pytest.skip("the local Kubernetes is what this test is about")
    (tmp_path / "test_mine.py").write_text("\n\n".join(python_of("docs/testing.md")))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert "2 passed" in ended.stdout, ended.stdout + ended.stderr


def test_the_first_lines_of_the_readme_make_ten_workers(request: pytest.FixtureRequest) -> None:
    if not is_local(request.config):
        pytest.skip("the local Kubernetes is what this test is about")
    from dask_k8s_local import LocalKubernetes

    [program] = python_of("README.md")
    with LocalKubernetes() as kubernetes:
        scope: dict[str, KubeCluster] = {}
        exec(program, scope)
        cluster = scope["cluster"]
        try:
            with Kube.from_kubeconfig(kubernetes.kubeconfig) as kube:
                group = "daskworkergroups.kubernetes.dask.org"
                kube.wait(
                    group, "my-dask-cluster-default", "default", until=lambda g: g["status"]["replicas"] == 10
                )
                assert len(pods_of(kube, "my-dask-cluster", "default", "worker")) == 10
        finally:
            cluster.close()


@pytest.mark.full
@pytest.mark.usefixtures("controller")
def test_results_survive_scaling_down(namespace: str, dask_image: str) -> None:
    with (
        KubeCluster(
            name="results", namespace=namespace, image=dask_image, n_workers=3, quiet=True
        ) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(3, timeout=120)
        results = client.map(os.urandom, [8_000] * 30, pure=False)
        before = client.gather(results)
        started_before = {worker["id"] for worker in client.scheduler_info(n_workers=-1)["workers"].values()}

        cluster.scale(1)

        left = wait_for_number_of_workers(client, 1)
        assert left <= started_before
        # Whatever were computed again would be another.
        assert client.gather(results) == before


def wait_for_number_of_workers(client: Client, number: int, timeout: float = 120) -> set[str]:
    """Return the names of the scheduler's workers as soon as there are so many."""

    deadline = time.monotonic() + timeout
    while True:
        names = {worker["id"] for worker in client.scheduler_info(n_workers=-1)["workers"].values()}
        if len(names) == number:
            return names
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {timeout:g} s the scheduler's workers are still {names}")
        time.sleep(0.1)


@pytest.mark.usefixtures("controller")
def test_closing_deletes_the_cluster(kube: Kube, namespace: str, dask_image: str) -> None:
    cluster = KubeCluster(name="closing", namespace=namespace, image=dask_image, quiet=True)
    assert kube.find(DASK_CLUSTERS, "closing", namespace)

    cluster.close()

    kube.gone(DASK_CLUSTERS, "closing", namespace)
    kube.wait_all("pods", namespace, until=lambda pods: not pods)


@pytest.mark.usefixtures("controller")
def test_connecting_by_name_and_leaving_leaves_the_cluster(
    kube: Kube, namespace: str, dask_image: str
) -> None:
    with KubeCluster(name="shared", namespace=namespace, image=dask_image, n_workers=1, quiet=True) as first:
        with (
            KubeCluster.from_name("shared", namespace=namespace, quiet=True) as second,
            Client(second) as client,
        ):
            assert client.submit(sum, [21, 21]).result(timeout=120) == 42
            assert second.name == first.name
        assert kube.find(DASK_CLUSTERS, "shared", namespace)


def test_files_of_the_quickstart_are_not_left_behind(request: pytest.FixtureRequest) -> None:
    if not is_local(request.config):
        pytest.skip("the local Kubernetes is what this test is about")
    from dask_k8s_local import LocalKubernetes

    with LocalKubernetes(addons=()) as kubernetes:
        folder = Path(kubernetes.kubeconfig).parent
        assert kubernetes.kubeconfig.stat().st_mode & 0o777 == 0o600
    assert not folder.exists()
