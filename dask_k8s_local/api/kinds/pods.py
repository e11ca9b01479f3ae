"""Pods: what they begin with, what may change, and how long they have to end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from dask_k8s_local.api import errors
from dask_k8s_local.api.errors import Cause
from dask_k8s_local.api.kinds.pod_spec import containers, default_pod_spec
from dask_k8s_local.api.kinds.pod_validation import pod_spec_problems
from dask_k8s_local.api.kinds.strategy import GenerationStrategy, carry_over
from dask_k8s_local.api.storage.store import clone
from dask_k8s_local.interfaces import Object

_ONLY_THESE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


class PodStrategy(GenerationStrategy):
    """https://kubernetes.io/docs/concepts/workloads/pods/"""

    returns_deleted = True

    def default(self, body: Object) -> None:
        spec = body.setdefault("spec", {})
        default_pod_spec(spec)
        spec.setdefault("enableServiceLinks", True)

    def prepare_for_create(self, body: Object) -> None:
        body["status"] = {"phase": "Pending", "qosClass": qos_class(body.get("spec") or {})}
        if (body.get("spec") or {}).get("schedulingGates"):
            body["status"]["conditions"] = [
                {
                    "type": "PodScheduled",
                    "status": "False",
                    "reason": "SchedulingGated",
                    "message": "Scheduling is blocked due to non-empty scheduling gates",
                }
            ]

    def prepare_for_subresource(self, subresource: str, new: Object, old: Object) -> None:
        if subresource == "binding":
            return
        super().prepare_for_subresource(subresource, new, old)
        carry_over(new["metadata"], old["metadata"], "ownerReferences")
        before = (old.get("status") or {}).get("qosClass")
        if before:
            new.setdefault("status", {}).setdefault("qosClass", before)

    def validate(self, body: Object) -> Sequence[Cause]:
        return list(pod_spec_problems(body["spec"]))

    def validate_update(self, new: Object, old: Object) -> Sequence[Cause]:
        for kind in ("containers", "initContainers"):
            if len(old["spec"].get(kind) or ()) != len(new["spec"].get(kind) or ()):
                detail = "pod updates may not add or remove containers"
                return (errors.forbidden_field(f"spec.{kind}", detail),)
        allowed = _with_changes(old["spec"], new["spec"])
        if allowed == new["spec"]:
            return ()
        changed = sorted(
            key for key in allowed.keys() | new["spec"].keys() if allowed.get(key) != new["spec"].get(key)
        )
        return (errors.forbidden_field("spec", f"{_ONLY_THESE}\n  changed: {', '.join(changed)}"),)

    def warnings(self, body: Object, old: Object | None) -> Sequence[str]:
        return [] if old is not None else list(_hidden_variables(body["spec"]))

    def grace_period(self, body: Object, requested: int | None) -> int:
        spec, status = body.get("spec") or {}, body.get("status") or {}
        if not spec.get("nodeName") or status.get("phase") in ("Succeeded", "Failed"):
            return 0
        period: Any = spec.get("terminationGracePeriodSeconds", 30) if requested is None else requested
        # A negative period counts as one second.
        return int(period) if period >= 0 else 1


def _hidden_variables(spec: Object) -> Iterator[str]:
    for kind in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(kind) or ()):
            seen: set[str] = set()
            for place, variable in enumerate(container.get("env") or ()):
                if variable["name"] in seen:
                    yield (
                        f"spec.{kind}[{index}].env[{place}]: hides previous definition of "
                        f'"{variable["name"]}", which may be dropped when using apply'
                    )
                seen.add(variable["name"])


def _with_changes(old: Object, new: Object) -> Object:
    """Return the old spec with those changes of the new one that are allowed."""
    allowed: Object = clone(old)
    for kind in ("containers", "initContainers"):
        before, now = allowed.get(kind) or [], new.get(kind) or []
        if len(before) == len(now):
            for mine, theirs in zip(before, now, strict=True):
                if theirs.get("image"):
                    mine["image"] = theirs["image"]
    deadline, new_deadline = old.get("activeDeadlineSeconds"), new.get("activeDeadlineSeconds")
    if new_deadline is not None and (deadline is None or new_deadline < deadline):
        allowed["activeDeadlineSeconds"] = new_deadline
    tolerations, more = old.get("tolerations") or [], new.get("tolerations") or []
    if all(one in more for one in tolerations) and more:
        allowed["tolerations"] = more
    gates, fewer = old.get("schedulingGates") or [], new.get("schedulingGates") or []
    if gates and all(one in gates for one in fewer):
        carry_over(allowed, new, "schedulingGates")
        # A pod that isn't released yet may still be narrowed.
        carry_over(allowed, new, "nodeSelector")
    if not old.get("nodeName"):
        # The scheduler in this event loop binds by patching; requests from outside use pods/binding.
        carry_over(allowed, new, "nodeName")
    return allowed


def qos_class(spec: Object) -> str:
    """https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/"""
    asked = guaranteed = count = 0
    for container in containers(spec):
        count += 1
        resources = container.get("resources") or {}
        requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
        asked += any(name in requests or name in limits for name in ("cpu", "memory"))
        guaranteed += all(
            name in limits and requests.get(name, limits[name]) == limits[name] for name in ("cpu", "memory")
        )
    if not asked:
        return "BestEffort"
    return "Guaranteed" if guaranteed == count else "Burstable"
