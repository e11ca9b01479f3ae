"""Where benchmarks run: the local Kubernetes or the one of KUBECONFIG, with pods that run or don't."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import NotHere
from dask_k8s_local import LocalKubernetes, Node
from dask_k8s_local.api.faults import RequestLog
from dask_k8s_local.api.http.target import Request
from tests.harness.kube import Kube, Object
from tests.harness.nodes import FakeNode, on_fake_nodes
from tests.harness.proxy import ApiProxy, record_of

HARNESS = "dask-k8s-tests"
"""The user agent of our own requests, which aren't counted."""

IMAGE = "ghcr.io/dask/dask:latest"

Requests = Counter[tuple[str, str]]
"""How many there were, by verb and resource, the subresource behind a slash."""


@dataclass(frozen=True)
class Place:
    """A Kubernetes and a namespace in it.

    Attributes
    ----------
    kubeconfig : Path
        For users' programs.
    counted : Path
        For controllers: requests that come that way are counted.
    runs_pods : bool
        Whether pods run; else they become ready without.
    count : callable
        Returns how many requests there have been.
    """

    kubeconfig: Path
    counted: Path
    kube: Kube
    namespace: str
    runs_pods: bool
    image: str
    count: Callable[[], Requests]
    local: LocalKubernetes | None = None

    def apply(self, manifests: list[Object]) -> None:
        """Bring definitions and the like there, and wait until definitions are served."""
        if self.local is not None:
            self.local.apply(manifests)
            return
        for manifest in manifests:
            self.kube.apply(manifest)
        for manifest in manifests:
            if manifest["kind"] == "CustomResourceDefinition":
                self.kube.wait(
                    self.kube.resource_of(manifest), manifest["metadata"]["name"], until=_is_established
                )

    def fit(self, pod_spec: Object) -> Object:
        """Return a pod's spec that lets it be bound to where it shall be."""
        return pod_spec if self.local or self.runs_pods else on_fake_nodes(pod_spec)


def _is_established(found: Object) -> bool:
    conditions = found.get("status", {}).get("conditions") or ()
    return any((one["type"], one["status"]) == ("Established", "True") for one in conditions)


@contextlib.contextmanager
def local(
    *, runs_pods: bool = True, nodes: int = 1, ready_after: float | tuple[float, float] = 0.0
) -> Iterator[Place]:
    """A local Kubernetes of its own; its pods run, or become ready so many seconds after they were bound."""
    with (
        LocalKubernetes(
            addons=(),
            nodes=[Node(f"node-{number}") for number in range(1, nodes + 1)],
            ready_after=None if runs_pods else ready_after,
        ) as kubernetes,
        Kube.from_kubeconfig(kubernetes.kubeconfig) as kube,
    ):
        kubernetes.faults.log = log = _Counted()
        path = kubernetes.kubeconfig
        yield Place(path, path, kube, "default", runs_pods, IMAGE, log.by_resource.copy, kubernetes)


class _Counted(RequestLog):
    """Counts all requests from outside, and remembers few."""

    def __init__(self) -> None:
        super().__init__(limit=1)
        self.by_resource: Requests = Counter()

    def append(self, request: Request) -> None:
        super().append(request)
        if request.user_agent != HARNESS:
            _add(self.by_resource, request)


def _add(requests: Requests, request: Request) -> None:
    subresource = f"/{request.subresource}" if request.subresource else ""
    requests[request.verb or request.method.lower(), request.resource + subresource] += 1


def current(image: str) -> Callable[..., contextlib.AbstractContextManager[Place]]:
    """Return what opens a namespace of its own in the Kubernetes that KUBECONFIG names."""
    first, *_ = (os.environ.get("KUBECONFIG") or "~/.kube/config").split(os.pathsep)
    path = Path(first).expanduser().absolute()

    @contextlib.contextmanager
    def opened(*, runs_pods: bool = True, nodes: int = 1) -> Iterator[Place]:
        with contextlib.ExitStack() as stack:
            kube = stack.enter_context(Kube.from_kubeconfig(path))
            schedulable = [node for node in kube.list("nodes") if not node["spec"].get("unschedulable")]
            if runs_pods and len(schedulable) < nodes:
                raise NotHere(f"it takes {nodes} nodes, and there are {len(schedulable)}")
            proxy = stack.enter_context(ApiProxy(path))
            requests: Requests = Counter()
            proxy.heard = lambda request, _: _add(requests, record_of(request))
            if not runs_pods:
                stack.enter_context(FakeNode(kube, "bench"))
            namespace = stack.enter_context(_namespace(kube))
            yield Place(path, proxy.kubeconfig, kube, namespace, runs_pods, image, requests.copy)

    return opened


@contextlib.contextmanager
def _namespace(kube: Kube) -> Iterator[str]:
    name = f"dask-bench-{uuid.uuid4().hex[:8]}"
    kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    try:
        kube.wait("serviceaccounts", "default", name, until=bool)
        yield name
    finally:
        kube.delete("namespaces", name)
        kube.gone("namespaces", name, timeout=300)
