"""A Kubernetes of a test's own whose pods need no processes, and schedulers that follow a script."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from dask_k8s_local import LocalKubernetes
from dask_k8s_models.crd import custom_resource_definitions
from tests.conftest import a_namespace, is_local
from tests.harness.embedded import ScriptedSchedulers
from tests.harness.flows import Stage
from tests.harness.kube import Kube


@dataclass
class Lab:
    """Where flows take place."""

    kubernetes: LocalKubernetes
    kube: Kube
    schedulers: ScriptedSchedulers

    @contextlib.contextmanager
    def stage(self) -> Iterator[Stage]:
        with a_namespace(self.kube) as namespace:
            yield Stage(self.kube, self.schedulers, namespace)


@contextlib.contextmanager
def a_lab(config: pytest.Config, **options: Any) -> Iterator[Lab]:
    """Open a local Kubernetes with these options; skip the test where another one is under test."""
    if not is_local(config):
        pytest.skip("many pods without processes can be had on the local Kubernetes only")
    with (
        LocalKubernetes(addons=(), **{"ready_after": 0.02, **options}) as kubernetes,
        Kube.from_kubeconfig(kubernetes.kubeconfig) as kube,
    ):
        kubernetes.apply(custom_resource_definitions())
        yield Lab(kubernetes, kube, ScriptedSchedulers(kube))
