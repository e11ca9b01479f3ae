"""A Kubernetes, or a part of one, whose pods need no processes, and schedulers that follow a script."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dask_k8s_local import LocalKubernetes, Node
from dask_k8s_local.node import NodeSettings
from dask_k8s_models.crd import custom_resource_definitions
from tests.conftest import a_namespace, is_local
from tests.harness.controller import ControllerProcess
from tests.harness.embedded import ScriptedSchedulers
from tests.harness.flows import Stage
from tests.harness.kube import Kube
from tests.harness.nodes import LABELS, FakeNode

ELSEWHERE = 10.0
"""How much more time all may take on a Kubernetes that isn't in this process."""


@dataclass
class Lab:
    """Where flows take place.

    Attributes
    ----------
    kubeconfig : Path
        Of the API server.
    """

    kubeconfig: Path
    kube: Kube
    schedulers: ScriptedSchedulers
    local: LocalKubernetes | None = None
    fakes: dict[str, FakeNode] = field(default_factory=dict)

    @contextlib.contextmanager
    def stage(self) -> Iterator[Stage]:
        with a_namespace(self.kube) as namespace:
            yield Stage(self.kube, self.schedulers, namespace, 1.0 if self.local else ELSEWHERE)

    @property
    def kubernetes(self) -> LocalKubernetes:
        """The local Kubernetes, for what no other does on request; the test is skipped elsewhere."""
        if self.local is None:
            pytest.skip("only the local Kubernetes fails on request")
        return self.local

    def node(self, name: str) -> str:
        """Return what a node is called there."""
        return self.fakes[name].name if self.fakes else name

    def pause_node(self, name: str) -> None:
        """Let a node be lost."""
        self.fakes[name].pause() if self.local is None else self.local.pause_node(name)

    def resume_node(self, name: str) -> None:
        self.fakes[name].resume() if self.local is None else self.local.resume_node(name)


@contextlib.contextmanager
def a_lab(
    request: pytest.FixtureRequest,
    *,
    nodes: Sequence[str] = ("scale",),
    ready_after: float | tuple[float, float] = 0.02,
    heartbeat_scale: float = 1.0,
) -> Iterator[Lab]:
    """Open a local Kubernetes, or take nodes into the one under test; no controller is at work there.

    Parameters
    ----------
    nodes : sequence of str
        The names of the nodes, on which pods become ready without processes.
    ready_after : float or (float, float)
        Seconds that this takes.
    heartbeat_scale : float
        What the time is multiplied by after which a node counts as lost, where that can be chosen.
    """
    if not is_local(request.config):
        with _elsewhere(request, nodes, ready_after) as lab:
            yield lab
        return
    described = [Node(name, labels=LABELS) for name in nodes]
    settings = NodeSettings(heartbeat_scale=heartbeat_scale)
    with (
        LocalKubernetes(addons=(), nodes=described, ready_after=ready_after, settings=settings) as kubernetes,
        Kube.from_kubeconfig(kubernetes.kubeconfig) as kube,
    ):
        kubernetes.apply(custom_resource_definitions())
        yield Lab(kubernetes.kubeconfig, kube, ScriptedSchedulers(kube), kubernetes)


@contextlib.contextmanager
def _elsewhere(
    request: pytest.FixtureRequest, nodes: Sequence[str], ready_after: float | tuple[float, float]
) -> Iterator[Lab]:
    request.getfixturevalue("crds")
    kubeconfig: Path = request.getfixturevalue("kubeconfig")
    with contextlib.ExitStack() as stack:
        kube = stack.enter_context(Kube.from_kubeconfig(kubeconfig))
        stack.enter_context(ControllerProcess.none_runs())
        fakes = {name: stack.enter_context(FakeNode(kube, name, ready_after)) for name in nodes}
        yield Lab(kubeconfig, kube, ScriptedSchedulers(kube), fakes=fakes)
