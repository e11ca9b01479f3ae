"""Pods: their defaults, what may change, and how long they have to end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dask_k8s_local.api.strategy import GenerationStrategy, carry_over
from dask_k8s_local.interfaces import Object


def containers(spec: Object) -> Iterator[Object]:
    yield from spec.get("initContainers") or ()
    yield from spec.get("containers") or ()


def default_pod_spec(spec: Object) -> None:
    """Fill in what a user left out of a pod's or a template's spec."""
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("securityContext", {})
    spec.setdefault("terminationGracePeriodSeconds", 30)
    if spec.get("serviceAccountName"):
        spec["serviceAccount"] = spec["serviceAccountName"]
    elif spec.get("serviceAccount"):
        spec["serviceAccountName"] = spec["serviceAccount"]
    for container in containers(spec):
        _default_container(container, host_network=bool(spec.get("hostNetwork")))
    for volume in spec.get("volumes") or ():
        _default_volume(volume)


def _default_container(container: Object, *, host_network: bool) -> None:
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    container.setdefault("imagePullPolicy", _pull_policy(container.get("image") or ""))
    resources = container.setdefault("resources", {})
    if resources.get("limits"):
        requests = resources.setdefault("requests", {})
        for name, limit in resources["limits"].items():
            requests.setdefault(name, limit)
    for port in container.get("ports") or ():
        port.setdefault("protocol", "TCP")
        if host_network:
            port.setdefault("hostPort", port.get("containerPort"))
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(name) is not None:
            _default_probe(container[name])
    for variable in container.get("env") or ():
        reference = (variable.get("valueFrom") or {}).get("fieldRef")
        if reference is not None:
            reference.setdefault("apiVersion", "v1")


def _pull_policy(image: str) -> str:
    _, colon, tag = image.rpartition("/")[2].partition(":")
    return "Always" if (not colon or tag == "latest") and "@" not in image else "IfNotPresent"


def _default_probe(probe: Object) -> None:
    for name, value in (
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ):
        if not probe.get(name):
            probe[name] = value
    if probe.get("httpGet") is not None:
        probe["httpGet"].setdefault("path", "/")
        probe["httpGet"].setdefault("scheme", "HTTP")


_MODE = 0o644


def _default_volume(volume: Object) -> None:
    if len(volume) == 1:
        volume["emptyDir"] = {}
    for source in ("secret", "configMap", "downwardAPI", "projected"):
        if volume.get(source) is not None:
            volume[source].setdefault("defaultMode", _MODE)


class PodStrategy(GenerationStrategy):
    """https://kubernetes.io/docs/concepts/workloads/pods/"""

    returns_deleted = True

    def default(self, body: Object) -> None:
        spec = body.setdefault("spec", {})
        default_pod_spec(spec)
        spec.setdefault("enableServiceLinks", True)
        spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
        spec.setdefault("priority", 0)
        if not spec.get("serviceAccountName"):
            spec["serviceAccountName"] = spec["serviceAccount"] = "default"

    def prepare_for_create(self, body: Object) -> None:
        body["status"] = {"phase": "Pending", "qosClass": qos_class(body.get("spec") or {})}

    def prepare_for_subresource(self, subresource: str, new: Object, old: Object) -> None:
        super().prepare_for_subresource(subresource, new, old)
        carry_over(new["metadata"], old["metadata"], "ownerReferences")
        new.setdefault("status", {}).setdefault("qosClass", (old.get("status") or {}).get("qosClass"))

    def grace_period(self, body: Object, requested: int | None) -> int:
        spec, status = body.get("spec") or {}, body.get("status") or {}
        if not spec.get("nodeName") or status.get("phase") in ("Succeeded", "Failed"):
            return 0
        if requested is not None:
            return max(requested, 0)
        period: Any = spec.get("terminationGracePeriodSeconds", 30)
        return int(period)


def qos_class(spec: Object) -> str:
    """https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/"""
    asked = guaranteed = 0
    count = 0
    for container in containers(spec):
        count += 1
        resources = container.get("resources") or {}
        requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
        asked += any(name in requests or name in limits for name in ("cpu", "memory"))
        guaranteed += all(
            name in limits and requests.get(name, limits[name]) == limits[name] for name in ("cpu", "memory")
        )
    if not asked:
        return "BestEffort"
    return "Guaranteed" if guaranteed == count else "Burstable"
