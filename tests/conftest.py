"""Options and fixtures that all tests share: which Kubernetes, and a controller beside it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.controller import ControllerProcess
from tests.harness.kube import Kube


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("kubernetes")
    group.addoption(
        "--kubernetes",
        choices=("local", "kind", "current"),
        default="local",
        help="where end-to-end tests run: the local Kubernetes, kind, or what KUBECONFIG names",
    )
    group.addoption(
        "--dask-image",
        default=None,
        help="image of scheduler and workers, with this environment's versions of Python and Dask "
        "(required by --kubernetes=current; the local Kubernetes pulls no images)",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--kubernetes") == "current" and not config.getoption("--dask-image"):
        raise pytest.UsageError(
            "--kubernetes=current needs --dask-image=IMAGE, an image with Dask that its nodes can pull"
        )


@pytest.fixture(scope="session")
def kubeconfig(request: pytest.FixtureRequest) -> Iterator[Path]:
    """The kubeconfig of the Kubernetes under test, which KUBECONFIG names meanwhile."""
    which = request.config.getoption("--kubernetes")
    if which == "local":
        from dask_k8s_local import LocalKubernetes

        with LocalKubernetes(addons=()) as kubernetes:
            yield kubernetes.kubeconfig
        return
    if which == "kind":
        path = Path(request.getfixturevalue("kind_cluster").kubeconfig_path).resolve()
    else:
        path = Path(os.environ.get("KUBECONFIG", "~/.kube/config")).expanduser()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(path))
        yield path


@pytest.fixture(scope="session")
def dask_image(request: pytest.FixtureRequest) -> str:
    return request.config.getoption("--dask-image") or "ghcr.io/dask/dask:latest"


@pytest.fixture(scope="session")
def kube(kubeconfig: Path) -> Iterator[Kube]:
    """A plain client of the API server, which knows nothing of ours."""
    with Kube.from_kubeconfig(kubeconfig) as client:
        yield client


@pytest.fixture(scope="session")
def crds(kube: Kube) -> None:
    from dask_k8s_models.crd import custom_resource_definitions

    for crd in custom_resource_definitions():
        kube.apply(crd)
    for crd in custom_resource_definitions():
        kube.wait(
            "customresourcedefinitions.apiextensions.k8s.io",
            crd["metadata"]["name"],
            until=lambda found: any(
                condition["type"] == "Established" and condition["status"] == "True"
                for condition in found.get("status", {}).get("conditions") or []
            ),
        )


@pytest.fixture(scope="session")
def controller(kubeconfig: Path, crds: None) -> Iterator[ControllerProcess]:
    """The controller, as a process outside the cluster. A test that kills it starts it again."""
    with ControllerProcess(kubeconfig) as process:
        yield process


@pytest.fixture
def namespace(kube: Kube) -> Iterator[str]:
    """A namespace of the test's own."""
    with a_namespace(kube) as name:
        yield name


@pytest.fixture
def other_namespace(kube: Kube) -> Iterator[str]:
    with a_namespace(kube) as name:
        yield name


class a_namespace:  # noqa: N801 - reads as a sentence where it is used
    """A namespace with what pods need in it: they are refused until it has its default service account."""

    def __init__(self, kube: Kube) -> None:
        self.kube = kube
        self.name = f"dask-test-{uuid.uuid4().hex[:8]}"

    def __enter__(self) -> str:
        self.kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name}})
        self.kube.wait("serviceaccounts", "default", self.name, until=bool)
        return self.name

    def __exit__(self, *_: object) -> None:
        self.kube.delete("namespaces", self.name)
