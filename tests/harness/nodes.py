"""Nodes of the tests' own, on any Kubernetes: their pods run nothing and become ready, as many as one likes.

A node's heart beats by its Lease, as a kubelet's does; its pods are said to be running, and deleted for good
when that is asked for. Pods come to it only if they select it and tolerate its taint, see `on_fake_nodes`.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Self

import httpx

from tests.harness.kube import Kube, Object, Refused, WatchEnded

FAKE = "tests.dask.org/fake-node"
LABELS = {FAKE: "true"}
PLATFORM = {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
ROOM = {"cpu": "10000", "memory": "100000Gi", "ephemeral-storage": "100000Gi", "pods": "10000"}
NODE_INFO = (
    *("architecture", "bootID", "containerRuntimeVersion", "kernelVersion", "kubeProxyVersion"),
    *("kubeletVersion", "machineID", "operatingSystem", "osImage", "systemUUID"),
)
BEAT = 5.0
LEASES = "leases.coordination.k8s.io"

_addresses = itertools.count(int(ip_address("10.200.0.1")))


def on_fake_nodes(pod_spec: Object) -> Object:
    """Return a pod's spec that lets it be bound to such nodes, and to no others."""
    toleration = {"key": FAKE, "operator": "Exists", "effect": "NoSchedule"}
    return {
        **pod_spec,
        "nodeSelector": {**pod_spec.get("nodeSelector", {}), **LABELS},
        "tolerations": [*pod_spec.get("tolerations", []), toleration],
    }


def timestamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class FakeNode:
    """A Node object, and what a kubelet would do for it.

    Parameters
    ----------
    kube : Kube
        The API server, as somebody who may write nodes and the statuses of pods.
    name : str
        What its name begins with.
    ready_after : float or (float, float)
        Seconds from binding to ready, or the bounds between which they are chosen at random.
    """

    def __init__(self, kube: Kube, name: str, ready_after: float | tuple[float, float] = 0.0) -> None:
        self.kube = kube
        self.name = f"{name}-{uuid.uuid4().hex[:8]}"
        self.address = str(ip_address(next(_addresses)))
        self._latency = ready_after if isinstance(ready_after, tuple) else (ready_after, ready_after)
        self._known: set[str] = set()
        self._is_over = threading.Event()
        self._is_connected = threading.Event()
        self._is_connected.set()
        self._pool = ThreadPoolExecutor(16)
        self._threads = [threading.Thread(target=act, name=self.name) for act in (self._beat, self._follow)]

    def __enter__(self) -> Self:
        self.kube.create(
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {
                    "name": self.name,
                    "labels": {**LABELS, **PLATFORM, "kubernetes.io/hostname": self.name},
                },
                "spec": {"taints": [{"key": FAKE, "value": "true", "effect": "NoSchedule"}]},
            }
        )
        self._say_that_it_is_ready()
        for thread in self._threads:
            thread.start()
        # Until its first heartbeats are heard, it is tainted as not ready.
        self.kube.wait("nodes", self.name, until=lambda node: len(node["spec"].get("taints", [])) == 1)
        return self

    def __exit__(self, *_: object) -> None:
        self._is_connected.set()
        self._is_over.set()
        for thread in self._threads:
            thread.join()
        self._pool.shutdown()
        self.kube.delete("nodes", self.name)
        self.kube.delete(LEASES, self.name, "kube-node-lease")

    def pause(self) -> None:
        """Be cut off: nobody hears of it, and it hears of nothing."""
        self._is_connected.clear()

    def resume(self) -> None:
        self._is_connected.set()

    # The node

    def _say_that_it_is_ready(self) -> None:
        now = timestamp()
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "a test's own node"}
        status = {
            "capacity": ROOM,
            "allocatable": ROOM,
            "addresses": [
                {"type": "InternalIP", "address": self.address},
                {"type": "Hostname", "address": self.name},
            ],
            "conditions": [{**ready, "lastHeartbeatTime": now, "lastTransitionTime": now}],
            "nodeInfo": {**dict.fromkeys(NODE_INFO, ""), "kubeletVersion": "v1.36.0"},
        }
        self.kube.patch("nodes", self.name, {"status": status}, subresource="status")

    def _beat(self) -> None:
        while not self._is_over.is_set():
            self._is_connected.wait()
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            lease = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": self.name, "namespace": "kube-node-lease"},
                "spec": {"holderIdentity": self.name, "leaseDurationSeconds": 40, "renewTime": now},
            }
            with contextlib.suppress(Refused, httpx.TransportError):
                self.kube.apply(lease)
                self._say_that_it_is_ready()
            self._is_over.wait(BEAT)

    # Its pods

    def _follow(self) -> None:
        """List and watch the node's pods, again and again."""
        selector = {"fieldSelector": f"spec.nodeName={self.name}"}
        since = ""
        while not self._is_over.is_set():
            self._is_connected.wait()
            try:
                if not since:
                    listing = self.kube.request("GET", Kube.path("pods"), params=selector)
                    since = listing["metadata"]["resourceVersion"]
                    for pod in listing["items"]:
                        self._changed(pod)
                for event, pod in self.kube.watch("pods", timeout=2, resourceVersion=since, **selector):
                    if not self._is_connected.is_set():
                        since = ""
                        break
                    since = pod["metadata"]["resourceVersion"]
                    if event == "DELETED":
                        self._known.discard(pod["metadata"]["uid"])
                    else:
                        self._changed(pod)
            except (Refused, WatchEnded, httpx.TransportError):
                since = ""
                self._is_over.wait(0.5)

    def _changed(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        if "deletionTimestamp" in pod["metadata"]:
            self._pool.submit(self._insist, self._delete, pod)
        elif uid not in self._known:
            self._known.add(uid)
            self._pool.submit(self._insist, self._make_ready, pod)

    def _insist(self, act: object, pod: Object) -> None:
        """Do what a pod needs until that is done, or there is nobody to do it for."""
        while not self._is_over.is_set():
            try:
                act(pod)  # type: ignore[operator]
                return
            except Refused as refused:
                if refused.code in (404, 409):
                    return
            except httpx.TransportError:
                pass
            self._is_over.wait(0.5)

    def _delete(self, pod: Object) -> None:
        metadata = pod["metadata"]
        preconditions = {"uid": metadata["uid"]}
        self.kube.delete(
            "pods", metadata["name"], metadata["namespace"], gracePeriodSeconds=0, preconditions=preconditions
        )

    def _make_ready(self, pod: Object) -> None:
        time.sleep(random.uniform(*self._latency))
        metadata = pod["metadata"]
        patch = {"metadata": {"uid": metadata["uid"]}, "status": self._status(pod)}
        self.kube.patch("pods", metadata["name"], patch, metadata["namespace"], subresource="status")

    def _status(self, pod: Object) -> Object:
        now, address = timestamp(), str(ip_address(next(_addresses)))
        types = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
        running = {"running": {"startedAt": now}}
        done = {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}}

        def container(spec: Object, state: Object) -> Object:
            return {
                "name": spec["name"],
                "image": spec["image"],
                "imageID": "",
                "containerID": f"fake://{pod['metadata']['uid']}/{spec['name']}",
                "restartCount": 0,
                "ready": True,
                "started": "running" in state,
                "state": state,
            }

        return {
            "phase": "Running",
            "hostIP": self.address,
            "podIP": address,
            "podIPs": [{"ip": address}],
            "startTime": now,
            "conditions": [{"type": one, "status": "True", "lastTransitionTime": now} for one in types],
            "initContainerStatuses": [
                container(one, running if one.get("restartPolicy") == "Always" else done)
                for one in pod["spec"].get("initContainers") or []
            ],
            "containerStatuses": [container(one, running) for one in pod["spec"]["containers"]],
        }
