"""Options and fixtures that all tests share: which Kubernetes, and a controller beside it."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.documents import autoscaler, cluster, group, job
from tests.harness.images import bring_to_all_nodes
from tests.harness.kube import Kube, Object
from tests.harness.ports import reserved_port

if TYPE_CHECKING:
    from tests.harness.installed import InstalledController

CLUSTER_WIDE, NAMESPACED = "cluster-wide", "namespaced"

LONGEST_TEST = 1200.0
"""Seconds for a test on nodes that run containers."""


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
        help="image of scheduler and workers, with Python, Dask and distributed, best of the versions here "
        "(required by --kubernetes=current; the local Kubernetes pulls no images)",
    )
    group.addoption(
        "--rights",
        choices=(CLUSTER_WIDE, NAMESPACED),
        default=CLUSTER_WIDE,
        help="what the controller beside the tests may do: all that the chart's ClusterRole allows, or what "
        "its Roles allow in the namespaces of each test, and nothing elsewhere",
    )


def is_local(config: pytest.Config) -> bool:
    """Whether the tests start the Kubernetes under test themselves."""
    return config.getoption("--kubernetes") == "local"


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell starts background jobs so; what tests start and interrupt would inherit it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not is_local(config):
        # An image has some packages of other versions than this environment.
        config.addinivalue_line("filterwarnings", "ignore:Mismatched versions found")
    if config.getoption("--kubernetes") == "current" and not config.getoption("--dask-image"):
        raise pytest.UsageError(
            "--kubernetes=current needs --dask-image=IMAGE, an image with Dask that its nodes can pull"
        )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Choose the controller's rights; tests marked as `namespaced` run with either."""
    if "controller" in metafunc.fixturenames:
        rights = [metafunc.config.getoption("--rights")]
        if metafunc.definition.get_closest_marker(NAMESPACED) and NAMESPACED not in rights:
            rights.append(NAMESPACED)
        ids = [pytest.HIDDEN_PARAM if one == CLUSTER_WIDE else one for one in rights]
        metafunc.parametrize("controller", rights, ids=ids, indirect=True, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give tests more time where containers have to start; skip what needs more rights than there are."""
    for item in items:
        if not is_local(config) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(LONGEST_TEST))
        needs_all = item.get_closest_marker("cluster_wide")
        if needs_all and config.getoption("--rights") == NAMESPACED:
            item.add_marker(pytest.mark.skip(f"needs cluster-wide rights: {needs_all.kwargs['reason']}"))


def pytest_collection_finish() -> None:
    """Look through the thousands of tests no more: a long garbage collection makes short time limits pass."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def kubeconfig(request: pytest.FixtureRequest) -> Iterator[Path]:
    """The kubeconfig of the Kubernetes under test, which KUBECONFIG names meanwhile."""
    if is_local(request.config):
        from dask_k8s_local import LocalKubernetes, Node

        with LocalKubernetes(addons=(), nodes=[Node(), Node("other")]) as kubernetes:
            yield kubernetes.kubeconfig
        return
    if request.config.getoption("--kubernetes") == "kind":
        path = Path(request.getfixturevalue("kind_cluster").kubeconfig_path).resolve()
    else:
        first, *_ = (os.environ.get("KUBECONFIG") or "~/.kube/config").split(os.pathsep)
        # Tests, and what they start, work in other folders.
        path = Path(first).expanduser().absolute()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(path))
        yield path


@pytest.fixture(scope="session")
def dask_image(request: pytest.FixtureRequest, kube: Kube) -> str:
    """The image of scheduler and workers, which all nodes have."""
    image = request.config.getoption("--dask-image") or "ghcr.io/dask/dask:latest"
    if not is_local(request.config):
        with a_namespace(kube) as namespace:
            bring_to_all_nodes(kube, namespace, image)
    return image


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
    with a_namespace(kube) as namespace:
        await_garbage_collection(kube, namespace, [cluster(), group(), job(), autoscaler()])


def await_garbage_collection(kube: Kube, namespace: str, owners: list[Object]) -> None:
    """Wait until owners take what they own along: a garbage collector looks for new kinds every 30 s only."""
    for number, manifest in enumerate(owners):
        owner = kube.create(manifest, namespace)
        reference = {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
        }
        metadata = {"name": f"owned-{number}", "ownerReferences": [reference]}
        kube.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}, namespace)
        kube.delete(kube.resource_of(manifest), owner["metadata"]["name"], namespace)
    kube.wait_all(
        "configmaps",
        namespace,
        until=lambda found: not any(name.startswith("owned-") for name in found),
        timeout=300,
    )


@pytest.fixture(scope="session")
def controller(
    request: pytest.FixtureRequest,
    kube: Kube,
    kubeconfig: Path,
    crds: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[InstalledController]:
    """The controller, as a process outside the cluster. A test that kills it starts it again.

    It has the chart's rights, cluster-wide or in the namespaces of the test, and the way in from outside.
    """
    from tests.harness.installed import ClusterWideController, NamespacedController

    kind = {CLUSTER_WIDE: ClusterWideController, NAMESPACED: NamespacedController}[request.param]
    with (
        a_namespace(kube) as own,
        kind(kube, kubeconfig, own, tmp_path_factory.mktemp("controller")) as process,
    ):
        yield process


@pytest.fixture
def free_port() -> Iterator[int]:
    """A port of this machine that nobody else is given during the test."""
    with reserved_port() as port:
        yield port


@pytest.fixture
def namespace(request: pytest.FixtureRequest, kube: Kube) -> Iterator[str]:
    """A namespace of the test's own."""
    yield from a_served_namespace(request, kube)


@pytest.fixture
def other_namespace(request: pytest.FixtureRequest, kube: Kube) -> Iterator[str]:
    yield from a_served_namespace(request, kube)


def a_served_namespace(request: pytest.FixtureRequest, kube: Kube) -> Iterator[str]:
    """Make a namespace that the test's controller serves, if it has one."""
    with a_namespace(kube) as name, contextlib.ExitStack() as stack:
        if "controller" in request.fixturenames:
            stack.enter_context(request.getfixturevalue("controller").serves(name))
        yield name


class a_namespace:  # noqa: N801 - reads as a sentence where it is used
    """A namespace with all that Kubernetes puts into it, without which pods are refused or wait."""

    def __init__(self, kube: Kube) -> None:
        self.kube = kube
        self.name = f"dask-test-{uuid.uuid4().hex[:8]}"

    def __enter__(self) -> str:
        self.kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name}})
        self.kube.wait("serviceaccounts", "default", self.name, until=bool)
        self.kube.wait("configmaps", "kube-root-ca.crt", self.name, until=bool)
        return self.name

    def __exit__(self, *_: object) -> None:
        self.kube.delete("namespaces", self.name)
