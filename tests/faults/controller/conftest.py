"""A Kubernetes without nodes, where pods merely are, and a controller that reconciles by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from dask_k8s_local import LocalKubernetes
from dask_k8s_models.crd import custom_resource_definitions
from tests.harness.by_hand import ControllerByHand, a_controller
from tests.harness.kube import Kube


@pytest.fixture(scope="session")
def kubernetes() -> Iterator[LocalKubernetes]:
    with LocalKubernetes(addons=(), nodes=()) as kubernetes:
        kubernetes.apply(custom_resource_definitions())
        yield kubernetes


@pytest.fixture(scope="session")
def kube(kubernetes: LocalKubernetes) -> Iterator[Kube]:
    with Kube.from_kubeconfig(kubernetes.kubeconfig) as kube:
        yield kube


@pytest.fixture
async def by_hand(kubernetes: LocalKubernetes, kube: Kube) -> AsyncIterator[ControllerByHand]:
    async with a_controller(kubernetes, kube) as found:
        yield found
