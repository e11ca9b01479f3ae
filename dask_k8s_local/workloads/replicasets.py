"""ReplicaSets: as many pods as asked for.

https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dask_k8s_local.interfaces import Api, ApiError, Object
from dask_k8s_local.workloads.events import Recorder
from dask_k8s_local.workloads.pods import is_active, is_available, is_ready, ready_since
from dask_k8s_local.workloads.queue import (
    Controller,
    Key,
    controller_key,
    is_controlled_by,
    own_key,
    owner_reference,
)
from dask_k8s_local.workloads.selectors import selector_text

REPLICASETS = "replicasets.apps"


class ReplicaSetController(Controller):
    """Creates and deletes pods until their number is right."""

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self._events = Recorder(api, "replicaset-controller")

    def sources(self) -> Iterable[tuple[str, Callable[[Object], Iterable[Key]]]]:
        yield REPLICASETS, own_key
        yield "pods", controller_key("ReplicaSet")

    async def reconcile(self, key: Key) -> float | None:
        namespace, name = key
        try:
            owner = await self.api.get(REPLICASETS, namespace, name)
        except ApiError as error:
            if error.code == 404:
                return None
            raise
        selector = selector_text(owner["spec"]["selector"])
        pods = [
            pod
            for pod in await self.api.list("pods", namespace, label_selector=selector)
            if is_controlled_by(pod, owner["metadata"]["uid"])
        ]
        active = [pod for pod in pods if is_active(pod)]
        if "deletionTimestamp" not in owner["metadata"]:
            missing = owner["spec"]["replicas"] - len(active)
            failure = await self._create(owner, missing) if missing > 0 else ""
            for pod in _first_to_go(active)[: max(-missing, 0)]:
                await self._delete(owner, pod)
            await self._write_status(owner, active, failure)
            if failure:
                raise ApiError(500, "InternalError", failure)
        return _next_availability(owner, active)

    async def _create(self, owner: Object, count: int) -> str:
        """Create pods; return why one couldn't be created, if so."""
        template = owner["spec"]["template"]
        for _ in range(count):
            body = {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    **(template.get("metadata") or {}),
                    "generateName": f"{owner['metadata']['name']}-",
                    "ownerReferences": [owner_reference(owner)],
                },
                "spec": template["spec"],
            }
            try:
                pod = await self.api.create("pods", owner["metadata"]["namespace"], body)
            except ApiError as error:
                told = f"Error creating: {error.message}"
                await self._events.record(owner, "Warning", "FailedCreate", told)
                return error.message
            told = f"Created pod: {pod['metadata']['name']}"
            await self._events.record(owner, "Normal", "SuccessfulCreate", told)
        return ""

    async def _delete(self, owner: Object, pod: Object) -> None:
        own = pod["metadata"]
        try:
            await self.api.delete("pods", own["namespace"], own["name"], uid=own["uid"])
        except ApiError as error:
            if error.code not in (404, 409):
                raise
            return
        await self._events.record(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {own['name']}")

    async def _write_status(self, owner: Object, pods: list[Object], failure: str) -> None:
        fresh = await self.api.get(REPLICASETS, owner["metadata"]["namespace"], owner["metadata"]["name"])
        listed = [
            pod
            for pod in await self.api.list(
                "pods",
                owner["metadata"]["namespace"],
                label_selector=selector_text(owner["spec"]["selector"]),
            )
            if is_controlled_by(pod, owner["metadata"]["uid"]) and is_active(pod)
        ]
        seconds = owner["spec"].get("minReadySeconds", 0)
        status: Object = {
            "replicas": len(listed),
            "fullyLabeledReplicas": len(listed) or None,
            "readyReplicas": sum(is_ready(pod) for pod in listed) or None,
            "availableReplicas": sum(is_available(pod, seconds) for pod in listed) or None,
            "observedGeneration": owner["metadata"]["generation"],
        }
        status = {key: value for key, value in status.items() if value is not None}
        if failure:
            status["conditions"] = [
                {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": failure}
            ]
        if status != fresh.get("status"):
            await self.api.update(
                REPLICASETS, owner["metadata"]["namespace"], {**fresh, "status": status}, "status"
            )


def _first_to_go(pods: list[Object]) -> list[Object]:
    """Sort pods as Kubernetes picks them: those that run nowhere, aren't ready, or are young go first."""

    def rank(pod: Object) -> tuple[bool, int, bool, float]:
        order = {"Pending": 0, "Unknown": 1}.get((pod.get("status") or {}).get("phase", ""), 2)
        return bool(pod["spec"].get("nodeName")), order, is_ready(pod), -ready_since(pod)

    return sorted(pods, key=rank)


def _next_availability(owner: Object, pods: list[Object]) -> float | None:
    """Return when the next pod will have been ready for long enough."""
    seconds = owner["spec"].get("minReadySeconds", 0)
    if not seconds or all(is_available(pod, seconds) or not is_ready(pod) for pod in pods):
        return None
    return float(min(seconds, 1))
