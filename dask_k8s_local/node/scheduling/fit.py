"""Whether a pod fits a node, and why not, in kube-scheduler's words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from dask_k8s_local.interfaces import Object
from dask_k8s_local.node.amounts import Resources, pod_requests
from dask_k8s_local.node.scheduling.affinity import Uses, placement_misfit
from dask_k8s_local.node.scheduling.requirements import matches_affinity
from dask_k8s_local.node.scheduling.taints import refusal_by_taint
from dask_k8s_local.node.scheduling.use import NodeUse

Port = tuple[str, int]


@dataclass(frozen=True)
class Misfit:
    """Why a node can't take a pod; `preemptible` if the absence of other pods would help."""

    reasons: tuple[str, ...]
    preemptible: bool = False


def misfit(pod: Object, use: NodeUse, uses: Uses) -> Misfit | None:
    """Return why the pod can't run on the node, one of all nodes, or None if it can.

    The checks come in kube-scheduler's order, and the first that fails decides.
    """
    node = use.node
    spec = pod["spec"]
    if refusal := refusal_by_taint(spec, node):
        return Misfit((refusal,))
    if not matches_affinity(spec, node):
        return Misfit(("node(s) didn't match Pod's node affinity/selector",))
    wanted = _host_ports(pod)
    if wanted and wanted & {port for other in use.pods.values() for port in _host_ports(other)}:
        return Misfit(("node(s) didn't have free ports for the requested pod ports",), preemptible=True)
    insufficient = _insufficient(pod, use.allocatable, use.free())
    if insufficient is not None:
        return insufficient
    problem = placement_misfit(pod, use, uses)
    return Misfit((problem,), preemptible="affinity" in problem) if problem else None


def unschedulable_message(misfits: Iterable[Misfit]) -> str:
    """Return kube-scheduler's summary of why no node could take a pod."""
    misfits = list(misfits)
    if not misfits:
        return "no nodes available to schedule pods"
    count = len(misfits)
    reasons = Counter(reason for found in misfits for reason in found.reasons)
    summary = ", ".join(sorted(f"{number} {reason}" for reason, number in reasons.items()))
    attempts = Counter(
        "No preemption victims found for incoming pod"
        if found.preemptible
        else "Preemption is not helpful for scheduling"
        for found in misfits
    )
    preemption = ", ".join(sorted(f"{number} {reason}" for reason, number in attempts.items()))
    return (
        f"0/{count} nodes are available: {summary}. preemption: 0/{count} nodes are available: {preemption}."
    )


def _host_ports(pod: Object) -> set[Port]:
    on_host = bool(pod["spec"].get("hostNetwork"))
    return {
        (port.get("protocol", "TCP"), number)
        for container in pod["spec"]["containers"]
        for port in container.get("ports") or []
        if (number := port.get("hostPort") or (port["containerPort"] if on_host else 0))
    }


def _insufficient(pod: Object, allocatable: Resources, free: Resources) -> Misfit | None:
    requests = pod_requests(pod)
    short = [name for name, amount in requests.items() if amount > free.get(name, Decimal(0))]
    if not short:
        return None
    reasons = tuple("Too many pods" if name == "pods" else f"Insufficient {name}" for name in short)
    enough_when_empty = all(requests[name] <= allocatable.get(name, Decimal(0)) for name in short)
    return Misfit(reasons, preemptible=enough_when_empty)
