"""Deployments: a ReplicaSet for every template, and a gentle way from one to the next.

https://kubernetes.io/docs/concepts/workloads/controllers/deployment/
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable

from dask_k8s_local.interfaces import Api, ApiError, Object
from dask_k8s_local.workloads.deployment_status import deadline, deployment_status, replicas_of, share
from dask_k8s_local.workloads.events import Recorder
from dask_k8s_local.workloads.queue import (
    Controller,
    Key,
    controller_key,
    is_controlled_by,
    own_key,
    owner_reference,
)
from dask_k8s_local.workloads.replicasets import REPLICASETS
from dask_k8s_local.workloads.selectors import selector_text

DEPLOYMENTS = "deployments.apps"
_HASH_LABEL = "pod-template-hash"
_REVISION = "deployment.kubernetes.io/revision"
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


class DeploymentController(Controller):
    """Makes ReplicaSets and moves replicas between them."""

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self._events = Recorder(api, "deployment-controller")
        self._owners: dict[Key, Key] = {}

    def sources(self) -> Iterable[tuple[str, Callable[[Object], Iterable[Key]]]]:
        yield DEPLOYMENTS, own_key
        yield REPLICASETS, self._set_changed
        yield "pods", self._pod_changed

    def _set_changed(self, replica_set: Object) -> Iterable[Key]:
        (key,) = own_key(replica_set)
        for owner in controller_key("Deployment")(replica_set):
            self._owners[key] = owner
            yield owner

    def _pod_changed(self, pod: Object) -> Iterable[Key]:
        for replica_set in controller_key("ReplicaSet")(pod):
            if replica_set in self._owners:
                yield self._owners[replica_set]

    async def reconcile(self, key: Key) -> float | None:
        try:
            deployment = await self.api.get(DEPLOYMENTS, *key)
        except ApiError as error:
            if error.code == 404:
                return None
            raise
        if "deletionTimestamp" in deployment["metadata"]:
            return None
        sets = await self._sets(deployment)
        current = next((one for one in sets if _is_of(one, deployment)), None)
        if not deployment["spec"].get("paused"):
            if current is None:
                current = await self._create_set(deployment)
                sets.append(current)
            await self._make_newest(deployment, current, sets)
        if not await self._waits_for_old_pods(deployment, current, sets):
            for name, replicas in scaling(deployment, current, sets).items():
                await self._scale(deployment, name, replicas)
        await self._prune(deployment, current, sets)
        return await self._write_status(deployment, current)

    async def _make_newest(self, deployment: Object, current: Object, sets: list[Object]) -> None:
        """Number the ReplicaSet of the current template above all others, also when it comes back."""
        others = [one for one in sets if one is not current]
        revision = max(_revision(current), 1 + max((_revision(one) for one in others), default=0))
        for resource, body in ((REPLICASETS, current), (DEPLOYMENTS, deployment)):
            if _revision(body) != revision:
                own = body["metadata"]
                patch = {"metadata": {"annotations": {_REVISION: str(revision)}}}
                await self.api.patch(resource, own["namespace"], own["name"], patch)
        annotations = current["metadata"].setdefault("annotations", {})
        annotations[_REVISION] = str(revision)

    async def _waits_for_old_pods(
        self, deployment: Object, current: Object | None, sets: list[Object]
    ) -> bool:
        """Tell whether pods of an old template still run, where they mustn't run beside the new ones."""
        old = {one["metadata"]["uid"] for one in sets if one is not current}
        if deployment["spec"]["strategy"]["type"] != "Recreate" or not old:
            return False
        if any(one["spec"]["replicas"] for one in sets if one is not current):
            return False
        text = selector_text(deployment["spec"]["selector"])
        pods = await self.api.list("pods", deployment["metadata"]["namespace"], label_selector=text)
        return any(
            is_controlled_by(pod, uid) and pod["status"].get("phase") not in ("Succeeded", "Failed")
            for pod in pods
            for uid in old
        )

    async def _sets(self, deployment: Object) -> list[Object]:
        own = deployment["metadata"]
        selector = selector_text(deployment["spec"]["selector"])
        return await self.api.list(
            REPLICASETS,
            own["namespace"],
            label_selector=selector,
            where=lambda one: is_controlled_by(one, own["uid"]),
        )

    async def _create_set(self, deployment: Object) -> Object:
        own, spec = deployment["metadata"], deployment["spec"]
        template = spec["template"]
        digest = template_hash(template)
        labels = {**(template["metadata"].get("labels") or {}), _HASH_LABEL: digest}
        selector = spec["selector"]
        annotations = {
            key: value
            for key, value in (own.get("annotations") or {}).items()
            if key != "kubectl.kubernetes.io/last-applied-configuration"
        }
        body = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": f"{own['name']}-{digest}",
                "namespace": own["namespace"],
                "labels": labels,
                "annotations": {**annotations, _REVISION: "0"},
                "ownerReferences": [owner_reference(deployment)],
            },
            "spec": {
                "replicas": 0,
                "minReadySeconds": spec.get("minReadySeconds", 0),
                "selector": {
                    **selector,
                    "matchLabels": {**(selector.get("matchLabels") or {}), _HASH_LABEL: digest},
                },
                "template": {**template, "metadata": {**template["metadata"], "labels": labels}},
            },
        }
        return await self.api.create(REPLICASETS, own["namespace"], body)

    async def _scale(self, deployment: Object, name: str, replicas: int) -> None:
        namespace = deployment["metadata"]["namespace"]
        before = (await self.api.get(REPLICASETS, namespace, name))["spec"]["replicas"]
        if before == replicas:
            return
        await self.api.patch(REPLICASETS, namespace, name, {"spec": {"replicas": replicas}})
        way = "up" if replicas > before else "down"
        told = f"Scaled {way} replica set {name} from {before} to {replicas}"
        await self._events.record(deployment, "Normal", "ScalingReplicaSet", told)

    async def _prune(self, deployment: Object, current: Object | None, sets: list[Object]) -> None:
        """Delete the oldest ReplicaSets that have no pods, beyond the history that is kept."""
        old = [
            one
            for one in sets
            if one is not current and not one["spec"]["replicas"] and not replicas_of(one, "replicas")
        ]
        old.sort(key=_revision)
        kept = deployment["spec"].get("revisionHistoryLimit", 10)
        for one in old[: max(len(old) - kept, 0)]:
            own = one["metadata"]
            await self.api.delete(REPLICASETS, own["namespace"], own["name"], uid=own["uid"])

    async def _write_status(self, deployment: Object, current: Object | None) -> float | None:
        """Write the status; return when to look whether the rollout takes too long."""
        own = deployment["metadata"]
        fresh = await self.api.get(DEPLOYMENTS, own["namespace"], own["name"])
        sets = await self._sets(fresh)
        name = current["metadata"]["name"] if current else ""
        now = next((one for one in sets if one["metadata"]["name"] == name), None)
        status = deployment_status(fresh, now, sets)
        if status != fresh.get("status"):
            await self.api.update(DEPLOYMENTS, own["namespace"], {**fresh, "status": status}, "status")
        return deadline(fresh, status)


def template_hash(template: Object) -> str:
    """Return a short name for a template; the same one for the same template."""
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).digest()
    return "".join(_LETTERS[byte % len(_LETTERS)] for byte in digest[:10])


def _is_of(replica_set: Object, deployment: Object) -> bool:
    """Tell whether a ReplicaSet was made from the deployment's template."""
    template = replica_set["spec"]["template"]
    labels = {key: value for key, value in template["metadata"]["labels"].items() if key != _HASH_LABEL}
    own = {**template["metadata"], "labels": labels}
    wanted = deployment["spec"]["template"]
    return bool(template["spec"] == wanted["spec"] and own == {**wanted["metadata"], "labels": labels}) and (
        labels == (wanted["metadata"].get("labels") or {})
    )


def _revision(replica_set: Object) -> int:
    return int((replica_set["metadata"].get("annotations") or {}).get(_REVISION, 0))


def scaling(deployment: Object, current: Object | None, sets: list[Object]) -> dict[str, int]:
    """Return how many replicas each ReplicaSet should have next, by name."""
    wanted = deployment["spec"]["replicas"]
    if current is None:
        return {}
    name = current["metadata"]["name"]
    old = sorted((one for one in sets if one["metadata"]["name"] != name), key=_revision)
    strategy = deployment["spec"]["strategy"]
    if strategy["type"] == "Recreate":
        running = any(replicas_of(one, "replicas") for one in old)
        plan = {one["metadata"]["name"]: 0 for one in old}
        return plan if running else {**plan, name: wanted}
    rolling = strategy.get("rollingUpdate") or {}
    surge = share(rolling.get("maxSurge", "25%"), wanted, up=True)
    unavailable = share(rolling.get("maxUnavailable", "25%"), wanted, up=False)
    if not surge and not unavailable:
        unavailable = 1
    total = sum(one["spec"]["replicas"] for one in sets)
    now = current["spec"]["replicas"]
    plan = {}
    if now < wanted:
        now = plan[name] = min(wanted, now + max(wanted + surge - total, 0))
    elif now > wanted:
        now = plan[name] = wanted
    # Old pods may go as long as enough are available; those that aren't available count for nothing.
    available = sum(replicas_of(one, "availableReplicas") for one in sets)
    removable = available - (wanted - unavailable)
    for one in old:
        replicas, healthy = one["spec"]["replicas"], replicas_of(one, "availableReplicas")
        unhealthy = max(replicas - healthy, 0)
        going = min(unhealthy, replicas)
        more = max(min(removable, replicas - going), 0)
        removable -= more
        if going + more:
            plan[one["metadata"]["name"]] = replicas - going - more
    return plan
