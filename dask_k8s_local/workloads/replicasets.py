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
from dask_k8s_local.workloads.selectors import selector_text, selects

REPLICASETS = "replicasets.apps"


class ReplicaSetController(Controller):
    """Creates and deletes pods until their number is right."""

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self._events = Recorder(api, "replicaset-controller")
        self._selectors: dict[Key, Object] = {}

    def sources(self) -> Iterable[tuple[str, Callable[[Object], Iterable[Key]]]]:
        yield REPLICASETS, self._set_changed
        yield "pods", self._pod_changed

    def _set_changed(self, replica_set: Object) -> Iterable[Key]:
        (key,) = own_key(replica_set)
        self._selectors[key] = replica_set["spec"]["selector"]
        yield key

    def _pod_changed(self, pod: Object) -> Iterable[Key]:
        """Yield a pod's owner, or else those that could adopt it."""
        own = pod["metadata"]
        if any(owner.get("controller") for owner in own.get("ownerReferences") or ()):
            yield from controller_key("ReplicaSet")(pod)
            return
        labels = own.get("labels") or {}
        for key, selector in self._selectors.items():
            if key[0] == own["namespace"] and selects(selector, labels):
                yield key

    async def reconcile(self, key: Key) -> float | None:
        namespace, name = key
        try:
            owner = await self.api.get(REPLICASETS, namespace, name)
        except ApiError as error:
            if error.code != 404:
                raise
            self._selectors.pop(key, None)
            return None
        if "deletionTimestamp" in owner["metadata"]:
            return None
        active = [pod for pod in await self._claimed(owner) if is_active(pod)]
        missing = owner["spec"]["replicas"] - len(active)
        failure = await self._create(owner, missing) if missing > 0 else ""
        for pod in _first_to_go(active)[: max(-missing, 0)]:
            await self._delete(owner, pod)
        await self._write_status(owner, failure)
        if failure:
            raise ApiError(500, "InternalError", failure)
        return _next_availability(owner, active)

    async def _claimed(self, owner: Object) -> list[Object]:
        """Return the owner's pods; adopt those without an owner, release those that don't match any more."""
        uid, selector = owner["metadata"]["uid"], owner["spec"]["selector"]
        claimed = []

        def is_of_interest(pod: Object) -> bool:
            own = pod["metadata"]
            owners = own.get("ownerReferences") or []
            if any(one.get("controller") for one in owners):
                return is_controlled_by(pod, uid)
            return selects(selector, own.get("labels") or {})

        for pod in await self.api.list("pods", owner["metadata"]["namespace"], where=is_of_interest):
            own = pod["metadata"]
            owners = own.get("ownerReferences") or []
            matches = selects(selector, own.get("labels") or {})
            if is_controlled_by(pod, uid):
                if matches:
                    claimed.append(pod)
                elif "deletionTimestamp" not in own:
                    await self._set_owners(pod, [one for one in owners if one["uid"] != uid])
            elif matches and is_active(pod) and not any(one.get("controller") for one in owners):
                claimed.append(await self._set_owners(pod, [*owners, owner_reference(owner)]))
        return claimed

    async def _set_owners(self, pod: Object, owners: list[Object]) -> Object:
        own = pod["metadata"]
        patch = {"metadata": {"uid": own["uid"], "ownerReferences": owners}}
        return await self.api.patch("pods", own["namespace"], own["name"], patch)

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

    async def _write_status(self, owner: Object, failure: str) -> None:
        own = owner["metadata"]
        fresh = await self.api.get(REPLICASETS, own["namespace"], own["name"])
        text = selector_text(owner["spec"]["selector"])
        listed = [
            pod
            for pod in await self.api.list("pods", own["namespace"], label_selector=text)
            if is_controlled_by(pod, own["uid"]) and is_active(pod)
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
