"""What of a node is taken, and by which pods."""

from __future__ import annotations

from decimal import Decimal

from dask_k8s_local.interfaces import Object
from dask_k8s_local.node.amounts import Resources, parse_resources, pod_requests, total


class NodeUse:
    """A node, the pods that count against it, and what they leave free."""

    def __init__(self, node: Object) -> None:
        self.pods: dict[str, Object] = {}
        self._used: Resources = {}
        self._repelling: set[str] = set()
        self.node = node

    @property
    def node(self) -> Object:
        return self._node

    @node.setter
    def node(self, node: Object) -> None:
        status = node.get("status") or {}
        self._node = node
        self.allocatable = parse_resources(status.get("allocatable") or status.get("capacity"))

    def add(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        if uid not in self.pods:
            self._used = total([self._used, pod_requests(pod)])
            if (pod["spec"].get("affinity") or {}).get("podAntiAffinity"):
                self._repelling.add(uid)
        self.pods[uid] = pod

    def remove(self, uid: str) -> None:
        freed = pod_requests(self.pods.pop(uid))
        self._used = {name: amount - freed.get(name, Decimal(0)) for name, amount in self._used.items()}
        self._repelling.discard(uid)

    def free(self) -> Resources:
        return {name: amount - self._used.get(name, Decimal(0)) for name, amount in self.allocatable.items()}

    def repelling(self) -> list[Object]:
        """Return the pods that keep others away."""
        return [self.pods[uid] for uid in self._repelling]
