"""What a node is, and the Node object that says so."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dask_k8s_local.interfaces import Object
from dask_k8s_local.node.times import now, timestamp
from dask_k8s_local.quantity import parse

KUBELET_VERSION = "v1.37.0"


@dataclass(frozen=True)
class Node:
    """A machine that pods are bound to.

    Parameters
    ----------
    name : str
        The Node object's name.
    labels : mapping
        Labels beside those that kubelet sets (hostname, os, arch).
    taints : sequence of dict
        ``{"key": …, "value": …, "effect": "NoSchedule" | "PreferNoSchedule" | "NoExecute"}``.
    capacity : mapping
        Quantities of ``cpu``, ``memory``, ``pods`` and extended resources such as ``nvidia.com/gpu``. What
        is not given comes from this machine; 110 pods.
    """

    name: str = "local"
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[Mapping[str, str]] = ()
    capacity: Mapping[str, str | int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, quantity in self.capacity.items():
            try:
                parse(quantity)
            except ValueError as error:
                raise ValueError(f"Node(name={self.name!r}): capacity[{name!r}]: {error}") from None


def node_object(node: Node) -> Object:
    """Return the Node that kubelet registers."""
    labels = {
        "beta.kubernetes.io/arch": _architecture(),
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": _architecture(),
        "kubernetes.io/hostname": node.name,
        "kubernetes.io/os": "linux",
        **node.labels,
    }
    body: Object = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name, "labels": labels},
        "spec": {},
    }
    if node.taints:
        body["spec"]["taints"] = [dict(taint) for taint in node.taints]
    return body


def node_status(node: Node, address: str) -> Object:
    """Return the status of a node that is well."""
    capacity = _machine_capacity() | {name: str(quantity) for name, quantity in node.capacity.items()}
    moment = timestamp(now())
    pressures = [
        ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ]
    conditions = [
        _condition(type_, "False", reason, message, moment) for type_, reason, message in pressures
    ] + [_condition("Ready", "True", "KubeletReady", "kubelet is posting ready status", moment)]
    return {
        "capacity": capacity,
        "allocatable": dict(capacity),
        "conditions": conditions,
        "addresses": [
            {"type": "InternalIP", "address": address},
            {"type": "Hostname", "address": node.name},
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        "nodeInfo": {
            "architecture": _architecture(),
            "bootID": "",
            "containerRuntimeVersion": f"python://{platform.python_version()}",
            "kernelVersion": platform.release(),
            "kubeProxyVersion": "",
            "kubeletVersion": KUBELET_VERSION,
            "machineID": "",
            "operatingSystem": "linux",
            "osImage": platform.platform(),
            "systemUUID": "",
        },
    }


def _condition(type_: str, status: str, reason: str, message: str, moment: str) -> Object:
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": moment,
        "lastTransitionTime": moment,
    }


def _machine_capacity() -> dict[str, str]:
    kibibytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024
    return {"cpu": str(os.cpu_count() or 1), "memory": f"{kibibytes}Ki", "pods": "110"}


def _architecture() -> str:
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
