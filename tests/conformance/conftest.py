"""What the conformance tests share: namespaces, names, pods that run Python, and custom resources."""

from __future__ import annotations

import contextlib
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import kr8s
import pytest
from kr8s._async_utils import Portal

from tests.conformance.gadgets import GADGETS, PLAINS, gadget_crd, plain_crd
from tests.conformance.kubectl import Kubectl, need_kubectl
from tests.conformance.pods import Pods
from tests.conformance.waiting import CRDS, described, established, eventually
from tests.conformance.watching import Watch
from tests.conftest import a_namespace
from tests.harness.kube import Kube, Object, Refused


@pytest.fixture(scope="module")
def namespace(kube: Kube) -> Iterator[str]:
    """One namespace for all tests of a module, whose objects carry names of their own."""
    with a_namespace(kube) as name:
        yield name
        let_go(kube, name)


@pytest.fixture
def fresh_namespace(kube: Kube) -> Iterator[str]:
    """A namespace with nothing else in it."""
    with a_namespace(kube) as name:
        yield name
        let_go(kube, name)


def let_go(kube: Kube, namespace: str) -> None:
    """Take away the finalizers that a failed test left behind: its namespace would never end."""
    for resource in ("configmaps", "pods", GADGETS):
        with contextlib.suppress(Refused):
            for found in kube.list(resource, namespace):
                if "finalizers" in found["metadata"]:
                    kube.patch(
                        resource, found["metadata"]["name"], {"metadata": {"finalizers": None}}, namespace
                    )


@pytest.fixture
def new_name() -> Callable[[], str]:
    return lambda: f"x{uuid.uuid4().hex[:8]}"


@pytest.fixture
def name(new_name: Callable[[], str]) -> str:
    """A name that no other object has."""
    return new_name()


@pytest.fixture(scope="module")
def pods(kube: Kube, namespace: str, dask_image: str) -> Pods:
    return Pods(kube, namespace, dask_image)


@pytest.fixture(scope="session")
def api(kubeconfig: Path) -> Iterator[kr8s.Api]:
    """kr8s's client: one for all tests, as it doesn't close its connections when it is forgotten."""
    with warnings.catch_warnings():
        # It knows the releases of Kubernetes that were there before it.
        warnings.filterwarnings("ignore", "Kubernetes version .* is not supported", UserWarning)
        client = kr8s.api(kubeconfig=str(kubeconfig))
        assert client.version()
    yield client
    if client._session is not None:
        Portal().call(client._session.aclose)


@pytest.fixture(scope="session")
def gadgets(kube: Kube) -> Iterator[str]:
    """A custom resource with a schema, status and scale."""
    yield from installed(kube, gadget_crd(), GADGETS)


@pytest.fixture(scope="session")
def plains(kube: Kube) -> Iterator[str]:
    """A custom resource that accepts any fields and has no subresources."""
    yield from installed(kube, plain_crd(), PLAINS)


def installed(kube: Kube, crd: Object, resource: str) -> Iterator[str]:
    kube.apply(crd)
    established(kube, crd["metadata"]["name"])
    group, plural = crd["spec"]["group"], crd["spec"]["names"]["plural"]
    eventually(
        lambda: [one["name"] for one in kube.request("GET", f"/apis/{group}/v1")["resources"]],
        until=lambda names: plural in names,
    )
    eventually(lambda: can_be_watched(kube, resource))
    yield resource
    kube.delete(CRDS, crd["metadata"]["name"])
    # Another run that came upon a definition on its way out would lose it.
    kube.gone(CRDS, crd["metadata"]["name"])


def can_be_watched(kube: Kube, resource: str) -> bool:
    with Watch(kube, resource):
        return True


@pytest.fixture(scope="module")
def kubectl(
    kubeconfig: Path, kube: Kube, namespace: str, gadgets: str, tmp_path_factory: pytest.TempPathFactory
) -> Kubectl:
    """kubectl in the module's namespace, which knows of gadgets."""
    need_kubectl()
    described(kube, "conformance.example.com/v1")
    return Kubectl(kubeconfig, namespace, tmp_path_factory.mktemp("kubectl"))
