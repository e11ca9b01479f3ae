"""Deployments: a ReplicaSet for every template, and a gentle way from one to the next.

https://kubernetes.io/docs/concepts/workloads/controllers/deployment/
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from dask_k8s_local.interfaces import Api, ApiError, Object
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

    def sources(self) -> Iterable[tuple[str, Callable[[Object], Iterable[Key]]]]:
        yield DEPLOYMENTS, own_key
        yield REPLICASETS, controller_key("Deployment")

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
        if current is None and not deployment["spec"].get("paused"):
            current = await self._create_set(deployment, sets)
            sets.append(current)
        for name, replicas in scaling(deployment, current, sets).items():
            await self._scale(deployment, name, replicas)
        await self._prune(deployment, current, sets)
        await self._write_status(deployment, current)
        return None

    async def _sets(self, deployment: Object) -> list[Object]:
        own = deployment["metadata"]
        selector = selector_text(deployment["spec"]["selector"])
        found = await self.api.list(REPLICASETS, own["namespace"], label_selector=selector)
        return [one for one in found if is_controlled_by(one, own["uid"])]

    async def _create_set(self, deployment: Object, sets: list[Object]) -> Object:
        own, spec = deployment["metadata"], deployment["spec"]
        template = spec["template"]
        digest = template_hash(template)
        labels = {**(template["metadata"].get("labels") or {}), _HASH_LABEL: digest}
        selector = spec["selector"]
        revision = str(1 + max((_revision(one) for one in sets), default=0))
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
                "annotations": {**annotations, _REVISION: revision},
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
        created = await self.api.create(REPLICASETS, own["namespace"], body)
        patch = {"metadata": {"annotations": {_REVISION: revision}}}
        await self.api.patch(DEPLOYMENTS, own["namespace"], own["name"], patch)
        return created

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
            if one is not current and not one["spec"]["replicas"] and not _count(one, "replicas")
        ]
        old.sort(key=_revision)
        kept = deployment["spec"].get("revisionHistoryLimit", 10)
        for one in old[: max(len(old) - kept, 0)]:
            own = one["metadata"]
            await self.api.delete(REPLICASETS, own["namespace"], own["name"], uid=own["uid"])

    async def _write_status(self, deployment: Object, current: Object | None) -> None:
        fresh = await self.api.get(
            DEPLOYMENTS, deployment["metadata"]["namespace"], deployment["metadata"]["name"]
        )
        sets = await self._sets(fresh)
        name = current["metadata"]["name"] if current else ""
        now = next((one for one in sets if one["metadata"]["name"] == name), None)
        status = deployment_status(fresh, now, sets)
        if status != fresh.get("status"):
            body = {**fresh, "status": status}
            await self.api.update(DEPLOYMENTS, fresh["metadata"]["namespace"], body, "status")


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


def _count(replica_set: Object, key: str) -> int:
    return int((replica_set.get("status") or {}).get(key) or 0)


def _share(value: Any, of: int, *, up: bool) -> int:
    if isinstance(value, int):
        return value
    exact = of * int(str(value).rstrip("%")) / 100
    return math.ceil(exact) if up else math.floor(exact)


def scaling(deployment: Object, current: Object | None, sets: list[Object]) -> dict[str, int]:
    """Return how many replicas each ReplicaSet should have next, by name."""
    wanted = deployment["spec"]["replicas"]
    if current is None:
        return {}
    name = current["metadata"]["name"]
    old = sorted((one for one in sets if one["metadata"]["name"] != name), key=_revision)
    strategy = deployment["spec"]["strategy"]
    if strategy["type"] == "Recreate":
        running = any(_count(one, "replicas") for one in old)
        plan = {one["metadata"]["name"]: 0 for one in old}
        return plan if running else {**plan, name: wanted}
    rolling = strategy.get("rollingUpdate") or {}
    surge = _share(rolling.get("maxSurge", "25%"), wanted, up=True)
    unavailable = _share(rolling.get("maxUnavailable", "25%"), wanted, up=False)
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
    available = sum(_count(one, "availableReplicas") for one in sets)
    removable = available - (wanted - unavailable)
    for one in old:
        replicas, healthy = one["spec"]["replicas"], _count(one, "availableReplicas")
        unhealthy = max(replicas - healthy, 0)
        going = min(unhealthy, replicas)
        more = max(min(removable, replicas - going), 0)
        removable -= more
        if going + more:
            plan[one["metadata"]["name"]] = replicas - going - more
    return plan


def deployment_status(deployment: Object, current: Object | None, sets: list[Object]) -> Object:
    """Return the status of a Deployment with the times of its conditions kept."""
    spec, generation = deployment["spec"], deployment["metadata"]["generation"]
    total = sum(_count(one, "replicas") for one in sets)
    ready = sum(_count(one, "readyReplicas") for one in sets)
    available = sum(_count(one, "availableReplicas") for one in sets)
    updated = _count(current, "replicas") if current else 0
    rolling = spec["strategy"].get("rollingUpdate") or {}
    least = spec["replicas"] - _share(rolling.get("maxUnavailable", 0), spec["replicas"], up=False)
    is_available = available >= least
    is_complete = updated == total == available == spec["replicas"]
    name = current["metadata"]["name"] if current else ""
    conditions = [
        (
            "Available",
            is_available,
            "MinimumReplicasAvailable" if is_available else "MinimumReplicasUnavailable",
            f"Deployment {'has' if is_available else 'does not have'} minimum availability.",
        ),
        (
            "Progressing",
            True,
            "NewReplicaSetAvailable" if is_complete else "ReplicaSetUpdated",
            f'ReplicaSet "{name}" {"has successfully progressed" if is_complete else "is progressing"}.',
        ),
    ]
    counts = {
        "replicas": total,
        "updatedReplicas": updated,
        "readyReplicas": ready,
        "availableReplicas": available,
        "unavailableReplicas": max(spec["replicas"] - available, 0),
    }
    return {
        "observedGeneration": generation,
        **{key: value for key, value in counts.items() if value},
        "conditions": _with_times(conditions, (deployment.get("status") or {}).get("conditions") or []),
    }


def _with_times(wanted: list[tuple[str, bool, str, str]], before: list[Object]) -> list[Object]:
    known = {one["type"]: one for one in before}
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    conditions = []
    for type_, holds, reason, message in wanted:
        body: Object = {
            "type": type_,
            "status": "True" if holds else "False",
            "reason": reason,
            "message": message,
        }
        old = known.get(type_) or {}
        is_same = all(old.get(key) == value for key, value in body.items())
        body["lastUpdateTime"] = old["lastUpdateTime"] if is_same else now
        body["lastTransitionTime"] = old["lastTransitionTime"] if old.get("status") == body["status"] else now
        conditions.append(body)
    return conditions
