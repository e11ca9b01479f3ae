"""What is there, kept up to date by a watch in a thread, so that waiting costs nobody a request."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar

import httpx

from tests.harness.kube import Kube, Object, Refused, WatchEnded

T = TypeVar("T")


class Following(Generic[T]):
    """Objects of a resource by name, each reduced to what is of interest.

    Parameters
    ----------
    kube : Kube
        The API server.
    resource, namespace : str
        What is followed.
    digest : callable
        Reduces an object.
    """

    def __init__(self, kube: Kube, resource: str, namespace: str, digest: Callable[[Object], T]) -> None:
        self._kube, self._resource, self._namespace, self._digest = kube, resource, namespace, digest
        self.found: dict[str, T] = {}
        self._changed = threading.Event()
        self._is_over = threading.Event()

    def __enter__(self) -> Self:
        listing = self._list()
        threading.Thread(target=self._follow, args=(listing,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()

    def _list(self) -> str:
        listing = self._kube.request("GET", Kube.path(self._resource, self._namespace))
        self.found.clear()
        for item in listing["items"]:
            self._keep(item["metadata"]["name"], self._digest(item))
        return str(listing["metadata"]["resourceVersion"])

    def _follow(self, version: str) -> None:
        while not self._is_over.is_set():
            try:
                for event, item in self._kube.watch(
                    self._resource, self._namespace, timeout=600, resourceVersion=version
                ):
                    version = item["metadata"]["resourceVersion"]
                    name = item["metadata"]["name"]
                    if event == "DELETED":
                        self._drop(name)
                    else:
                        self._keep(name, self._digest(item))
                    self._changed.set()
                    if self._is_over.is_set():
                        return
            except Exception as error:
                if self._is_over.is_set():
                    return  # The API server and the connection may be gone, too.
                if not isinstance(error, WatchEnded | Refused | httpx.TransportError):
                    raise
                version = self._list()

    def _keep(self, name: str, found: T) -> None:
        self.found[name] = found

    def _drop(self, name: str) -> None:
        self.found.pop(name, None)

    def until(self, holds: Callable[[dict[str, T]], object], timeout: float) -> bool:
        """Wait until that holds of all objects by name; return whether it came to that in time."""
        deadline = time.monotonic() + timeout
        while not holds(dict(self.found)):
            if time.monotonic() > deadline:
                return False
            self._changed.wait(0.1)
            self._changed.clear()
            # What comes at once is looked at once, and looking at thousands keeps no processor busy.
            time.sleep(0.005 + len(self.found) / 100_000)
        return True


class Pods(Following[dict[str, Any]]):
    """The pods of a namespace, as far as schedulers and those who wait for them need to know them.

    Attributes
    ----------
    of : dict
        The pods by name, by their cluster.
    """

    def __init__(self, kube: Kube, namespace: str) -> None:
        super().__init__(kube, "pods", namespace, _pod)
        self.of: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)

    def _keep(self, name: str, found: dict[str, Any]) -> None:
        super()._keep(name, found)
        self.of[found["cluster"]][name] = found

    def _drop(self, name: str) -> None:
        found = self.found.get(name)
        super()._drop(name)
        if found is not None:
            self.of[found["cluster"]].pop(name, None)


def _pod(pod: Object) -> dict[str, Any]:
    metadata, status = pod["metadata"], pod.get("status", {})
    labels = metadata.get("labels") or {}
    env = {one["name"]: one.get("value") for one in pod["spec"]["containers"][0].get("env") or ()}
    return {
        "cluster": labels.get("dask.org/cluster-name"),
        "component": labels.get("dask.org/component"),
        "ip": status.get("podIP"),
        "is_ready": "deletionTimestamp" not in metadata and is_condition(pod, "Ready"),
        "worker_name": env.get("DASK_WORKER_NAME") or metadata["name"],
    }


def is_condition(found: Object, kind: str) -> bool:
    """Whether a condition of an object is true."""
    conditions = found.get("status", {}).get("conditions") or ()
    return any(item["type"] == kind and item["status"] == "True" for item in conditions)


def ready(found: dict[str, dict[str, Any]], component: str = "worker") -> int:
    """Count the pods that are ready."""
    return sum(pod["is_ready"] and pod["component"] == component for pod in found.values())
