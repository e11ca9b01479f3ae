"""A local Kubernetes with real Dask processes, and the controller beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from distributed import Client

from dask_k8s_models import labels, make_cluster_spec
from tests.harness.kube import Kube, Object

CLUSTERS = "daskclusters.kubernetes.dask.org"
GROUPS = "daskworkergroups.kubernetes.dask.org"


class RealCluster:
    """A DaskCluster with processes."""

    def __init__(self, kube: Kube, namespace: str, replicas: int, **worker: Any) -> None:
        self.kube = kube
        self.namespace = namespace
        manifest = make_cluster_spec(
            name="c", n_workers=replicas, worker_command=["dask", "worker", "--nthreads", "1"]
        )
        manifest["spec"]["worker"] |= worker
        kube.create(manifest, namespace)
        self.wait_for(replicas)

    def pods(self, component: str = "") -> list[Object]:
        """The pods that aren't on their way out."""
        selector = f"{labels.CLUSTER_NAME}=c" + (f",{labels.COMPONENT}={component}" if component else "")
        found = self.kube.list("pods", self.namespace, selector)
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def scale(self, replicas: int) -> None:
        self.kube.patch(GROUPS, "c-default", {"spec": {"worker": {"replicas": replicas}}}, self.namespace)

    def wait_for(self, replicas: int) -> float:
        """Wait until there are exactly that many workers, and all is ready; return the seconds it took."""
        begun = time.monotonic()

        def is_complete(found: dict[str, Object]) -> bool:
            pods = [pod for pod in found.values() if "deletionTimestamp" not in pod["metadata"]]
            return len(pods) == replicas + 1 and all(is_ready(pod) for pod in pods)

        self.kube.wait_all("pods", self.namespace, until=is_complete)
        return time.monotonic() - begun

    def connect(self) -> Client:
        """Connect from this process: the node's pods have loopback addresses."""
        (scheduler,) = self.pods("scheduler")
        return Client(f"tcp://{scheduler['status']['podIP']}:8786", timeout="30s")


def is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


@pytest.fixture
def real_cluster(
    request: pytest.FixtureRequest, kube: Kube, controller: Any, namespace: str
) -> Iterator[Callable[..., RealCluster]]:
    if request.config.getoption("--kubernetes") != "local":
        pytest.skip("these tests reach into pods, as only a local Kubernetes lets them")
    yield lambda replicas, **worker: RealCluster(kube, namespace, replicas, **worker)
    print("\n".join(controller.log.splitlines()[-30:]))
