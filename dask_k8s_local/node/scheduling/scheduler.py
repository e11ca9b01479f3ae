"""The kube-scheduler: binds each pod to a node that can take it."""

from __future__ import annotations

import asyncio
import logging
from decimal import Decimal

from dask_k8s_local.interfaces import Api, ApiError, EventType, Object
from dask_k8s_local.node.amounts import Resources
from dask_k8s_local.node.background import Background, follow
from dask_k8s_local.node.events import Recorder
from dask_k8s_local.node.scheduling.fit import Misfit, misfit, unschedulable_message
from dask_k8s_local.node.scheduling.requirements import preferred_weight
from dask_k8s_local.node.scheduling.use import NodeUse
from dask_k8s_local.node.times import now, timestamp

logger = logging.getLogger(__name__)

RETRY_AFTER_ERROR = 0.5


class Scheduler:
    """Binds pods to nodes by selectors, taints, and requests.

    A pod that fits nowhere gets the condition ``PodScheduled=False`` with the reason ``Unschedulable``, and
    is tried again when a node changes or a pod goes away.

    Parameters
    ----------
    api : Api
        The API server.
    """

    def __init__(self, api: Api) -> None:
        self._api = api
        self._events = Recorder(api, "default-scheduler")
        self._background = Background()
        self._nodes: dict[str, NodeUse] = {}
        self._unbound: dict[str, Object] = {}
        self._bound: dict[str, Object] = {}
        self._to_try: set[str] = set()
        self._woken = asyncio.Event()

    async def start(self) -> None:
        self._background.spawn(
            follow(lambda: self._api.watch("nodes"), self._node_changed), "scheduler: nodes"
        )
        self._background.spawn(follow(lambda: self._api.watch("pods"), self._pod_changed), "scheduler: pods")
        self._background.spawn(self._run(), "scheduler")

    async def stop(self) -> None:
        await self._background.stop()

    def _node_changed(self, event: EventType, node: Object) -> None:
        name = node["metadata"]["name"]
        use = self._nodes.get(name)
        if event == "DELETED":
            self._nodes.pop(name, None)
            return
        if use is None:
            use = self._nodes[name] = NodeUse(node)
            for pod in self._bound.values():
                if pod["spec"]["nodeName"] == name:
                    use.add(pod)
        elif _scheduling_inputs(use.node) == _scheduling_inputs(node):
            return
        else:
            use.node = node
        self._try_all()

    def _pod_changed(self, event: EventType, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        node_name = pod["spec"].get("nodeName")
        is_over = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        if event == "DELETED" or is_over:
            self._forget(uid)
        elif node_name:
            self._count(pod)
        elif uid in self._bound:
            return  # An event from before our binding.
        elif not self._is_ours(pod):
            self._forget(uid)
        else:
            before = self._unbound.get(uid)
            self._unbound[uid] = pod
            if before is None or before["spec"] != pod["spec"]:
                self._to_try.add(uid)
                self._woken.set()

    def _is_ours(self, pod: Object) -> bool:
        return (
            pod["spec"].get("schedulerName", "default-scheduler") == "default-scheduler"
            and not pod["spec"].get("schedulingGates")
            and not pod["metadata"].get("deletionTimestamp")
        )

    def _count(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        self._unbound.pop(uid, None)
        self._to_try.discard(uid)
        self._bound[uid] = pod
        use = self._nodes.get(pod["spec"]["nodeName"])
        if use is not None:
            use.add(pod)

    def _forget(self, uid: str) -> None:
        self._unbound.pop(uid, None)
        self._to_try.discard(uid)
        bound = self._bound.pop(uid, None)
        use = self._nodes.get(bound["spec"]["nodeName"]) if bound else None
        if use is not None:
            use.remove(uid)
            self._try_all()

    def _try_all(self) -> None:
        if self._unbound:
            self._to_try.update(self._unbound)
            self._woken.set()

    async def _run(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            uids = sorted(self._to_try, key=lambda uid: _precedence(self._unbound[uid]))
            self._to_try.clear()
            for uid in uids:
                pod = self._unbound.get(uid)
                if pod is not None:
                    await self._schedule(pod)
                    # The API server answers in this loop without ever waiting: let others have their turn.
                    await asyncio.sleep(0)

    async def _schedule(self, pod: Object) -> None:
        try:
            await self._place(pod)
        except ApiError as error:
            if error.code in (404, 409, 422):
                return  # It is gone, has changed, or is bound already; the watch tells.
            logger.warning("scheduling %s again: %s", pod["metadata"]["name"], error.message)
            self._background.spawn(self._retry(pod["metadata"]["uid"]), "scheduler: retry")

    async def _retry(self, uid: str) -> None:
        await asyncio.sleep(RETRY_AFTER_ERROR)
        if uid in self._unbound:
            self._to_try.add(uid)
            self._woken.set()

    async def _place(self, pod: Object) -> None:
        refusal = _refused_volume(pod)
        found = {name: misfit(pod, use, self._nodes) for name, use in self._nodes.items()}
        fitting = [name for name, problem in found.items() if problem is None]
        if refusal or not fitting:
            misfits = [problem for problem in found.values() if problem is not None]
            if refusal:
                misfits = [Misfit((refusal,)) for _ in self._nodes]
            await self._report_unschedulable(pod, unschedulable_message(misfits))
            return
        best = max(
            fitting,
            key=lambda name: (preferred_weight(pod, self._nodes[name].node), _room(self._nodes[name])),
        )
        await self._bind(pod, best)

    async def _bind(self, pod: Object, node_name: str) -> None:
        metadata = pod["metadata"]
        bound = await self._api.patch(
            "pods", metadata["namespace"], metadata["name"], {"spec": {"nodeName": node_name}}
        )
        if bound["metadata"]["uid"] != metadata["uid"]:
            return  # Another pod of that name, it counts as itself when the watch shows it.
        self._count(bound)
        message = f"Successfully assigned {metadata['namespace']}/{metadata['name']} to {node_name}"
        await self._events.record(pod, "Normal", "Scheduled", message)

    async def _report_unschedulable(self, pod: Object, message: str) -> None:
        metadata = pod["metadata"]
        conditions = [dict(c) for c in (pod.get("status") or {}).get("conditions") or []]
        current = next((c for c in conditions if c["type"] == "PodScheduled"), None)
        if current is None or (current["status"], current.get("message")) != ("False", message):
            condition = {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": message,
                "lastTransitionTime": (current or {}).get("lastTransitionTime") or timestamp(now()),
            }
            others = [c for c in conditions if c["type"] != "PodScheduled"]
            status = {"phase": "Pending", "conditions": [*others, condition]}
            await self._api.patch(
                "pods", metadata["namespace"], metadata["name"], {"status": status}, "status"
            )
        await self._events.record(pod, "Warning", "FailedScheduling", message)


def _scheduling_inputs(node: Object) -> tuple[object, ...]:
    status = node.get("status") or {}
    spec = node.get("spec") or {}
    return (node["metadata"].get("labels"), spec, status.get("allocatable"), status.get("capacity"))


def _precedence(pod: Object) -> tuple[int, str, int]:
    """Return a key that sorts by priority, then by age."""
    metadata = pod["metadata"]
    return (
        -(pod["spec"].get("priority") or 0),
        metadata.get("creationTimestamp") or "",
        int(metadata.get("resourceVersion") or 0),
    )


def _room(use: NodeUse) -> Decimal:
    """Return the mean free fraction of cpu and memory, less for each pod: the emptiest is taken first."""
    allocatable: Resources = use.allocatable
    free = use.free()
    fractions = [free[name] / allocatable[name] for name in ("cpu", "memory") if allocatable.get(name)]
    mean = sum(fractions, Decimal(0)) / len(fractions) if fractions else Decimal(0)
    return mean - Decimal(len(use.pods)) / 1_000_000


def _refused_volume(pod: Object) -> str:
    for volume in pod["spec"].get("volumes") or []:
        claim = volume.get("persistentVolumeClaim")
        if claim:
            return f'persistentvolumeclaim "{claim["claimName"]}" not found'
    return ""
