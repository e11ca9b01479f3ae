"""Taints and tolerations, and cordons, which count as a taint.

https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/
"""

from __future__ import annotations

from dask_k8s_local.interfaces import Object

UNSCHEDULABLE = "node.kubernetes.io/unschedulable"


def refusal_by_taint(spec: Object, node: Object) -> str:
    """Return why a node's taints keep a pod away, in kube-scheduler's words; empty if they don't."""
    node_spec, tolerations = node.get("spec") or {}, spec.get("tolerations") or []
    cordon = {"key": UNSCHEDULABLE, "effect": "NoSchedule"}
    if node_spec.get("unschedulable") and not any(tolerates(one, cordon) for one in tolerations):
        return "node(s) were unschedulable"
    for taint in node_spec.get("taints") or []:
        if taint["effect"] != "PreferNoSchedule" and not any(tolerates(one, taint) for one in tolerations):
            return f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value') or ''}}}"
    return ""


def tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return True
    return bool(toleration.get("key")) and (toleration.get("value") or "") == (taint.get("value") or "")
