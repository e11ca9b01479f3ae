"""Binding and eviction: where pods come to, and how they are asked to go."""

from __future__ import annotations

from aiohttp import web

from dask_k8s_local.api import errors
from dask_k8s_local.api.http.body import read_object
from dask_k8s_local.api.http.call import Call
from dask_k8s_local.api.http.representation import json_response
from dask_k8s_local.api.meta import metadata
from dask_k8s_local.api.objects.options import DeleteOptions, Write
from dask_k8s_local.interfaces import ApiError, Object
from dask_k8s_local.workloads.budgets import BUDGETS
from dask_k8s_local.workloads.pods import is_ready
from dask_k8s_local.workloads.selectors import selects

_SUCCESS = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


async def bind(call: Call) -> web.StreamResponse:
    """Give a pod to a node, as kube-scheduler does."""
    if call.verb != "create":
        raise errors.method_not_allowed()
    binding = await read_object(call.http)
    node = (binding.get("target") or {}).get("name")
    if not node:
        raise errors.bad_request("Binding: target.name: Required value")
    write = call.write()
    write.subresource = "binding"
    call.operations.patch(
        call.served, call.namespace, call.target.name, lambda pod: bound(call, pod, node), write
    )
    return json_response(_SUCCESS, 201)


def bound(call: Call, pod: Object, node: str) -> Object:
    name = pod["metadata"]["name"]
    if "deletionTimestamp" in pod["metadata"]:
        raise errors.conflict(
            call.served.resource, name, f"pod {name} is being deleted, cannot be assigned to a host"
        )
    if pod["spec"].get("nodeName"):
        why = f'pod {name} is already assigned to node "{pod["spec"]["nodeName"]}"'
        raise errors.conflict(call.served.resource, name, why)
    status = pod.get("status") or {}
    others = [one for one in status.get("conditions") or () if one["type"] != "PodScheduled"]
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": metadata.timestamp()}
    return {
        **pod,
        "spec": {**pod["spec"], "nodeName": node},
        "status": {**status, "conditions": [*others, scheduled]},
    }


async def evict(call: Call) -> web.StreamResponse:
    """Delete a pod unless a PodDisruptionBudget forbids it."""
    if call.verb != "create":
        raise errors.method_not_allowed()
    body = await read_object(call.http)
    pod = call.operations.get(call.served, call.namespace, call.target.name).object
    asked = body.get("deleteOptions") or {}
    preconditions = asked.get("preconditions") or {}
    options = DeleteOptions(
        uid=preconditions.get("uid"),
        resource_version=preconditions.get("resourceVersion"),
        grace_period_seconds=asked.get("gracePeriodSeconds"),
        dry_run=bool(asked.get("dryRun")) or "dryRun" in call.http.query,
    )
    _ask_budgets(call, pod, dry_run=options.dry_run)
    call.operations.delete(call.served, call.namespace, call.target.name, options)
    return json_response(_SUCCESS, 201)


def _ask_budgets(call: Call, pod: Object, *, dry_run: bool) -> None:
    """Take an eviction off the budgets at once, so that the next one doesn't rely on what is used up."""
    phase = (pod.get("status") or {}).get("phase")
    if phase in ("Succeeded", "Failed", "Pending") or "deletionTimestamp" in pod["metadata"]:
        return
    labels = pod["metadata"].get("labels") or {}
    for revision in call.operations.store.collection(BUDGETS).revisions():
        budget = revision.object
        spec, status = budget.get("spec") or {}, budget.get("status") or {}
        if revision.key[0] != call.namespace or not selects(spec.get("selector"), labels):
            continue
        if spec.get("unhealthyPodEvictionPolicy") == "AlwaysAllow" and not is_ready(pod):
            continue
        if status.get("disruptionsAllowed", 0) > 0:
            if not dry_run:
                _take_one(call, revision.key)
            continue
        name = revision.key[1]
        desired, healthy = status.get("desiredHealthy", 0), status.get("currentHealthy", 0)
        cause = errors.Cause(
            "DisruptionBudget",
            "",
            f"The disruption budget {name} needs {desired} healthy pods and has {healthy} currently",
        )
        raise ApiError(
            429,
            "TooManyRequests",
            "Cannot evict pod as it would violate the pod's disruption budget.",
            {"causes": errors.causes_json([cause])},
        )


def _take_one(call: Call, budget: tuple[str, str]) -> None:
    served = call.registry.named(BUDGETS)
    if served is None:
        raise errors.unknown_path()

    def taken(old: Object) -> Object:
        allowed = old["status"]["disruptionsAllowed"] - 1
        return {**old, "status": {**old["status"], "disruptionsAllowed": allowed}}

    call.operations.patch(served, *budget, taken, Write(subresource="status"))
