"""The node controller: notices nodes that are lost or cordoned, and evicts pods that don't tolerate a taint.

See https://kubernetes.io/docs/concepts/architecture/nodes/#node-controller and
https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/#taint-based-evictions.
"""

from __future__ import annotations

import asyncio
import logging

from dask_k8s_local.interfaces import Api, ApiError, EventType, Object
from dask_k8s_local.node.background import Background, follow
from dask_k8s_local.node.events import Recorder
from dask_k8s_local.node.heartbeat import LEASE_NAMESPACE, LEASES
from dask_k8s_local.node.scheduling.taints import UNSCHEDULABLE, tolerates
from dask_k8s_local.node.times import now, timestamp

logger = logging.getLogger(__name__)

GRACE = 50.0
TICKS = 10
"""Looks within the grace period; a busy event loop delays them as it delays the heartbeats."""
DEFAULT_TOLERATION_SECONDS = 300.0
UNREACHABLE = "node.kubernetes.io/unreachable"
EVICTION_MESSAGE = "Taint manager: deleting due to NoExecute taint"


class NodeLifecycle:
    """Marks a node ``Ready=Unknown`` when its Lease isn't renewed, taints it, then evicts its pods.

    A node that is cordoned gets the taint that says so, and loses it with the cordon.

    Parameters
    ----------
    api : Api
        The API server.
    scale : float
        Multiplies all times: 50 s until a node counts as lost, the pods' `tolerationSeconds` (300 s unless
        they say otherwise). The nodes' `heartbeat_scale` must be the same.
    """

    def __init__(self, api: Api, *, scale: float = 1.0) -> None:
        self._api = api
        self._scale = scale
        self._events = Recorder(api, "node-controller")
        self._background = Background()
        self._nodes: dict[str, Object] = {}
        self._pods: dict[str, Object] = {}
        self._missed: dict[str, int] = {}
        self._evictions: dict[str, tuple[float, asyncio.Task[None]]] = {}

    async def start(self) -> None:
        for resource, handle in (
            ("nodes", self._node_changed),
            ("pods", self._pod_changed),
            (LEASES, self._lease_changed),
        ):
            watching = follow(lambda resource=resource: self._api.watch(resource), handle)  # type: ignore[misc]
            self._background.spawn(watching, f"node controller: {resource}")
        self._background.spawn(self._run(), "node controller")

    async def stop(self) -> None:
        await self._background.stop()

    def _node_changed(self, event: EventType, node: Object) -> None:
        name = node["metadata"]["name"]
        if event == "DELETED":
            self._nodes.pop(name, None)
            self._missed.pop(name, None)
            for pod in self._pods_of(name):
                # The pod collector's part: nobody is left who could end them.
                self._background.spawn(self._delete(pod, grace=0), "orphaned pod")
            return
        self._nodes[name] = node
        self._missed.setdefault(name, 0)
        if bool((node.get("spec") or {}).get("unschedulable")) != _is_tainted(node, UNSCHEDULABLE):
            self._background.spawn(self._follow_cordon(node), f"cordon of {name}")
        for pod in self._pods_of(name):
            self._plan_eviction(pod)

    def _pod_changed(self, event: EventType, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        if event == "DELETED" or not pod["spec"].get("nodeName"):
            self._pods.pop(uid, None)
            self._forget_eviction(uid)
            return
        self._pods[uid] = pod
        self._plan_eviction(pod)

    def _lease_changed(self, event: EventType, lease: Object) -> None:
        if lease["metadata"]["namespace"] == LEASE_NAMESPACE and event != "DELETED":
            self._missed[lease["metadata"]["name"]] = 0

    def _pods_of(self, node_name: str) -> list[Object]:
        return [pod for pod in self._pods.values() if pod["spec"]["nodeName"] == node_name]

    # Nodes

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(GRACE * self._scale / TICKS)
            for name, node in list(self._nodes.items()):
                self._missed[name] += 1
                is_lost = self._missed[name] > TICKS
                try:
                    if is_lost and not _is_tainted(node, UNREACHABLE):
                        await self._lose(node)
                    elif not is_lost and _is_tainted(node, UNREACHABLE):
                        await self._find(node)
                except ApiError as error:
                    logger.warning("node %s: %s", name, error.message)

    async def _lose(self, node: Object) -> None:
        name = node["metadata"]["name"]
        moment = timestamp(now())
        conditions = [
            {
                **condition,
                "status": "Unknown",
                "reason": "NodeStatusUnknown",
                "message": "Kubelet stopped posting node status.",
                "lastTransitionTime": moment,
            }
            for condition in node["status"]["conditions"]
        ]
        await self._api.patch("nodes", None, name, {"status": {"conditions": conditions}}, "status")
        taints = [
            *((node.get("spec") or {}).get("taints") or []),
            {"key": UNREACHABLE, "effect": "NoSchedule", "timeAdded": moment},
            {"key": UNREACHABLE, "effect": "NoExecute", "timeAdded": moment},
        ]
        await self._api.patch("nodes", None, name, {"spec": {"taints": taints}})
        await self._events.record(node, "Normal", "NodeNotReady", f"Node {name} status is now: NodeNotReady")
        for pod in self._pods_of(name):
            await self._mark_unready(pod)

    async def _find(self, node: Object) -> None:
        taints = [taint for taint in node["spec"]["taints"] if taint["key"] != UNREACHABLE]
        await self._api.patch("nodes", None, node["metadata"]["name"], {"spec": {"taints": taints}})

    async def _follow_cordon(self, node: Object) -> None:
        metadata, spec = node["metadata"], node.get("spec") or {}
        taints = [taint for taint in spec.get("taints") or [] if taint["key"] != UNSCHEDULABLE]
        if spec.get("unschedulable"):
            taints.append({"key": UNSCHEDULABLE, "effect": "NoSchedule", "timeAdded": timestamp(now())})
        version = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
        try:
            patch = {"metadata": version, "spec": {"taints": taints or None}}
            await self._api.patch("nodes", None, metadata["name"], patch)
        except ApiError as error:
            if error.code not in (404, 409):  # It has changed: the watch tells.
                raise

    async def _mark_unready(self, pod: Object) -> None:
        status = pod.get("status") or {}
        conditions = [dict(condition) for condition in status.get("conditions") or []]
        for condition in conditions:
            if condition["type"] == "Ready" and condition["status"] == "True":
                condition |= {"status": "False", "lastTransitionTime": timestamp(now())}
                await self._write_conditions(pod, conditions)
                await self._events.record(pod, "Warning", "NodeNotReady", "Node is not ready")

    async def _write_conditions(self, pod: Object, conditions: list[Object]) -> None:
        metadata = pod["metadata"]
        patch = {"metadata": {"uid": metadata["uid"]}, "status": {"conditions": conditions}}
        try:
            await self._api.patch("pods", metadata["namespace"], metadata["name"], patch, "status")
        except ApiError as error:
            if error.code not in (404, 409):
                raise

    # Pods

    def _plan_eviction(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        node = self._nodes.get(pod["spec"]["nodeName"])
        is_over = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        wait = None if node is None or is_over else seconds_to_eviction(pod, node)
        if wait is None or pod["metadata"].get("deletionTimestamp"):
            self._forget_eviction(uid)
        elif uid not in self._evictions or self._evictions[uid][0] != wait:
            self._forget_eviction(uid)
            task = self._background.spawn(self._evict(uid, wait * self._scale), "eviction")
            self._evictions[uid] = wait, task

    def _forget_eviction(self, uid: str) -> None:
        _, task = self._evictions.pop(uid, (0.0, None))
        if task is not None:
            task.cancel()

    async def _evict(self, uid: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        # From here on nothing shall cancel us: not even the changes that we make.
        self._evictions.pop(uid, None)
        pod = self._pods.get(uid)
        if pod is None:
            return
        metadata = pod["metadata"]
        message = f"Marking for deletion Pod {metadata['namespace']}/{metadata['name']}"
        await self._events.record(pod, "Normal", "TaintManagerEviction", message)
        await self._delete(pod)

    async def _delete(self, pod: Object, grace: int | None = None) -> None:
        metadata = pod["metadata"]
        if grace is None:
            target = {
                "type": "DisruptionTarget",
                "status": "True",
                "reason": "DeletionByTaintManager",
                "message": EVICTION_MESSAGE,
                "lastTransitionTime": timestamp(now()),
            }
            others = (pod.get("status") or {}).get("conditions") or []
            conditions = [condition for condition in others if condition["type"] != target["type"]]
            await self._write_conditions(pod, [*conditions, target])
        try:
            await self._api.delete(
                "pods",
                metadata["namespace"],
                metadata["name"],
                uid=metadata["uid"],
                grace_period_seconds=grace,
            )
        except ApiError as error:
            if error.code not in (404, 409):
                raise


def seconds_to_eviction(pod: Object, node: Object) -> float | None:
    """Return how long a pod may stay on its tainted node; None: for ever."""
    waits = []
    for taint in (node.get("spec") or {}).get("taints") or []:
        if taint["effect"] != "NoExecute":
            continue
        tolerations = [t for t in pod["spec"].get("tolerations") or [] if tolerates(t, taint)]
        if not tolerations:
            # Admission gives every pod a toleration for lost nodes.
            waits.append(DEFAULT_TOLERATION_SECONDS if taint["key"] == UNREACHABLE else 0.0)
            continue
        limits = [t["tolerationSeconds"] for t in tolerations if t.get("tolerationSeconds") is not None]
        if limits:
            waits.append(max(0.0, float(min(limits))))
    return min(waits, default=None)


def _is_tainted(node: Object, key: str) -> bool:
    return any(taint["key"] == key for taint in (node.get("spec") or {}).get("taints") or [])
