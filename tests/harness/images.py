"""The image that tests run, on nodes that may have to pull it first."""

from __future__ import annotations

from typing import Any

from tests.harness.kube import Kube, Object

LONGEST_PULL = 600.0
"""Seconds for all nodes to get the image."""

HOPELESS = {"ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "CreateContainerError"}
CODE = "import dask, distributed, sys; print(*sys.version_info[:2], distributed.__version__)"


def bring_to_all_nodes(kube: Kube, namespace: str, image: str) -> None:
    """Run the image once on each node, so that no test waits for it, or say why it can't run."""
    names = [kube.create(pod_on(node, image), namespace)["metadata"]["name"] for node in nodes_for_pods(kube)]
    assert names, "no node takes pods"
    for name in names:
        pod = kube.wait("pods", name, namespace, until=has_come_to_an_end, timeout=LONGEST_PULL)
        if pod["status"]["phase"] != "Succeeded":
            why = waiting(pod) or kube.request("GET", kube.path("pods", namespace, name, "log"))
            raise AssertionError(
                f"the image {image} can't run on {pod['spec']['nodeName']}: {why}; it has to have Python, "
                "Dask and distributed, and if nodes are not to pull it, a tag other than latest"
            )


def nodes_for_pods(kube: Kube) -> list[str]:
    """Return the names of the nodes to which pods without tolerations go."""
    return [
        node["metadata"]["name"]
        for node in kube.list("nodes")
        if not node["spec"].get("unschedulable")
        and all(taint["effect"] == "PreferNoSchedule" for taint in node["spec"].get("taints", []))
    ]


def pod_on(node: str, image: str) -> Object:
    container = {"name": "main", "image": image, "command": ["python3", "-c", CODE]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "image-"},
        "spec": {"nodeName": node, "restartPolicy": "Never", "containers": [container]},
    }


def has_come_to_an_end(pod: Object) -> bool:
    return pod["status"]["phase"] in ("Succeeded", "Failed") or waiting(pod).get("reason") in HOPELESS


def waiting(pod: Object) -> dict[str, Any]:
    """Return why the container waits."""
    found: dict[str, Any] = {}
    for status in pod["status"].get("containerStatuses", []):
        found = status["state"].get("waiting", {})
    return found
