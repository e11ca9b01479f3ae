"""A Kubernetes, or a part of one, whose pods run nothing, schedulers that are scripted, hasty controllers."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dask_k8s_local import LocalKubernetes, Node
from dask_k8s_local.api import Faults
from dask_k8s_local.node import NodeSettings
from dask_k8s_models.crd import custom_resource_definitions
from tests.conftest import a_namespace, is_local
from tests.harness.controller import ControllerProcess
from tests.harness.hasty import HastyController, Orders
from tests.harness.kube import Kube
from tests.harness.nodes import LABELS, FakeNode
from tests.harness.proxy import ApiProxy
from tests.harness.schedulers import DaskSchedulers

ELSEWHERE = 10.0
"""How much more time all may take on a Kubernetes that isn't in this process."""


@dataclass(frozen=True)
class Stage:
    """A namespace in which something takes place.

    Attributes
    ----------
    patience : float
        What limits of time are multiplied by.
    """

    kube: Kube
    schedulers: DaskSchedulers
    namespace: str
    patience: float = 1.0


@dataclass(frozen=True)
class Lab:
    """Where flows take place.

    Attributes
    ----------
    kubeconfig : Path
        The controllers' way to the API server.
    folder : Path
        For logs.
    faults : Faults
        What shall go wrong with what comes that way.
    """

    kubeconfig: Path
    kube: Kube
    schedulers: DaskSchedulers
    folder: Path
    faults: Faults
    local: LocalKubernetes | None = None
    fakes: dict[str, FakeNode] = field(default_factory=dict)

    def controller(self, *namespaces: str, **options: Any) -> HastyController:
        """Return a controller of these namespaces, or of all."""
        log = self.folder / "-".join(("controller", *namespaces))
        orders = {"log": str(log), **options}
        return HastyController(Orders(str(self.kubeconfig), self.schedulers.url, namespaces, **orders))

    @contextlib.contextmanager
    def stage(self) -> Iterator[Stage]:
        with a_namespace(self.kube) as namespace:
            yield Stage(self.kube, self.schedulers, namespace, 1.0 if self.local else ELSEWHERE)

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
    ready_after: float | tuple[float, float] = 0.0,
    heartbeat_scale: float = 1.0,
) -> Iterator[Lab]:
    """Open a local Kubernetes, or take nodes into the one under test; no other controller is at work there.

    Parameters
    ----------
    nodes : sequence of str
        The names of the nodes, on which pods become ready without processes.
    ready_after : float or (float, float)
        Seconds that this takes.
    heartbeat_scale : float
        What the time is multiplied by after which a node counts as lost, where that can be chosen.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lab-")))
        if is_local(request.config):
            local = stack.enter_context(
                LocalKubernetes(
                    addons=(),
                    nodes=[Node(name, labels=LABELS) for name in nodes],
                    ready_after=ready_after,
                    settings=NodeSettings(heartbeat_scale=heartbeat_scale),
                )
            )
            local.apply(custom_resource_definitions())
            kubeconfig = local.kubeconfig
        else:
            request.getfixturevalue("crds")
            local, kubeconfig = None, request.getfixturevalue("kubeconfig")
        kube = stack.enter_context(Kube.from_kubeconfig(kubeconfig))
        fakes = {}
        if local is not None:
            faults = local.faults
        else:
            stack.enter_context(ControllerProcess.none_runs())
            proxy = stack.enter_context(ApiProxy(kubeconfig))
            kubeconfig, faults = proxy.kubeconfig, proxy.faults
            fakes = {name: stack.enter_context(FakeNode(kube, name, ready_after)) for name in nodes}
        schedulers = stack.enter_context(DaskSchedulers(kube))
        yield Lab(kubeconfig, kube, schedulers, folder, faults, local, fakes)
