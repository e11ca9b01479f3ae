"""Kueue's part in a pod's life: its webhook at creation, in front of any API server, admission and eviction.

What it does to a pod is written in its pod_webhook.go and pod_controller.go.
https://github.com/kubernetes-sigs/kueue/tree/main/pkg/controller/jobs/pod
"""

from __future__ import annotations

import json
import re
import zlib
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from tests.harness.kube import Kube, Object
from tests.harness.proxy import ApiProxy

QUEUE = "kueue.x-k8s.io/queue-name"
GROUP = "kueue.x-k8s.io/pod-group-name"
COUNT = "kueue.x-k8s.io/pod-group-total-count"
ROLE_HASH = "kueue.x-k8s.io/role-hash"
GATE = "kueue.x-k8s.io/admission"
MANAGED = "kueue.x-k8s.io/managed"
"""A label and a finalizer."""

CREATES_PODS = re.compile(r"/api/v1/namespaces/[^/]+/pods")


class Kueue(ApiProxy):
    """Changes pods on their way to the API server, and lets pods in or evicts them when a test says so.

    Parameters
    ----------
    upstream : Path
        The kubeconfig of the API server behind.
    kube : Kube
        An administrator's, for what Kueue does by itself.
    """

    def __init__(self, upstream: Path, kube: Kube) -> None:
        super().__init__(upstream)
        self.kube = kube

    def admitted(self, request: web.Request, body: bytes | None) -> bytes | None:
        if body is None or request.method != "POST" or not CREATES_PODS.fullmatch(request.path):
            return body
        pod = json.loads(body)
        if QUEUE in pod["metadata"].get("labels", {}):
            mutate(pod)
        return json.dumps(pod).encode()

    def admit(self, pod: Object, flavor: dict[str, str]) -> None:
        """Let a pod in, onto nodes of a flavor."""
        gates = [gate for gate in pod["spec"]["schedulingGates"] if gate["name"] != GATE]
        spec = {"schedulingGates": gates or None, "nodeSelector": flavor}
        self.kube.patch("pods", pod["metadata"]["name"], {"spec": spec}, pod["metadata"]["namespace"])

    def evict(self, pod: Object) -> None:
        """Take a pod's quota away: it is told why, and deleted, and stays until it is finalized."""
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        target = {
            "type": "TerminationTarget",
            "status": "True",
            "reason": "WorkloadEvictedDueToPreempted",
            "message": "Preempted to accommodate a workload in the ClusterQueue",
            "lastTransitionTime": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        }
        live = self.kube.get("pods", name, namespace)
        status = {"conditions": [*live["status"].get("conditions", []), target]}
        self.kube.patch("pods", name, {"status": status}, namespace, subresource="status")
        self.kube.delete("pods", name, namespace)

    def finalize(self, pod: Object) -> None:
        """Let a pod go: of a group's as soon as another has its place."""
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        live = self.kube.get("pods", name, namespace)
        left = [one for one in live["metadata"]["finalizers"] if one != MANAGED]
        self.kube.patch("pods", name, {"metadata": {"finalizers": left or None}}, namespace)


def mutate(pod: Object) -> None:
    """Do to a new pod what the webhook does."""
    metadata = pod["metadata"]
    metadata["labels"][MANAGED] = "true"
    metadata["finalizers"] = [*metadata.get("finalizers", []), MANAGED]
    pod["spec"]["schedulingGates"] = [*pod["spec"].get("schedulingGates", []), {"name": GATE}]
    if GROUP in metadata["labels"]:
        shape = json.dumps([container["image"] for container in pod["spec"]["containers"]])
        metadata.setdefault("annotations", {})[ROLE_HASH] = f"{zlib.crc32(shape.encode()):08x}"
