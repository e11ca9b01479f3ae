"""Binding and eviction: where pods come to, and how they are asked to go."""

from __future__ import annotations

from aiohttp import web

from dask_k8s_local.api import errors
from dask_k8s_local.api.http.body import read_object
from dask_k8s_local.api.http.call import Call
from dask_k8s_local.api.http.representation import json_response
from dask_k8s_local.api.meta import metadata
from dask_k8s_local.api.objects.options import DeleteOptions
from dask_k8s_local.interfaces import ApiError, Object
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
    _ask_budgets(call, pod)
    asked = body.get("deleteOptions") or {}
    preconditions = asked.get("preconditions") or {}
    options = DeleteOptions(
        uid=preconditions.get("uid"),
        resource_version=preconditions.get("resourceVersion"),
        grace_period_seconds=asked.get("gracePeriodSeconds"),
        dry_run=bool(asked.get("dryRun")) or "dryRun" in call.http.query,
    )
    call.operations.delete(call.served, call.namespace, call.target.name, options)
    return json_response(_SUCCESS, 201)


def _ask_budgets(call: Call, pod: Object) -> None:
    if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed", "Pending"):
        return
    labels = pod["metadata"].get("labels") or {}
    for revision in call.operations.store.collection("poddisruptionbudgets.policy").revisions():
        budget = revision.object
        selector = (budget.get("spec") or {}).get("selector")
        if revision.key[0] != call.namespace or not selects(selector, labels):
            continue
        status = budget.get("status") or {}
        if status.get("disruptionsAllowed", 0) > 0:
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
