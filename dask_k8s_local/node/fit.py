"""Whether a pod fits a node, and why not, in kube-scheduler's words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from dask_k8s_local.interfaces import Object
from dask_k8s_local.node.quantities import Resources, parse_resources, total
from dask_k8s_local.node.requests import pod_requests

Port = tuple[str, int]


class NodeUse:
    """A node, the pods that count against it, and what they leave free."""

    def __init__(self, node: Object) -> None:
        self.pods: dict[str, Object] = {}
        self._used: Resources = {}
        self.node = node

    @property
    def node(self) -> Object:
        return self._node

    @node.setter
    def node(self, node: Object) -> None:
        status = node.get("status") or {}
        self._node = node
        self.allocatable = parse_resources(status.get("allocatable") or status.get("capacity"))

    def add(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        if uid not in self.pods:
            self._used = total([self._used, pod_requests(pod)])
        self.pods[uid] = pod

    def remove(self, uid: str) -> None:
        pod = self.pods.pop(uid)
        freed = pod_requests(pod)
        self._used = {name: amount - freed.get(name, Decimal(0)) for name, amount in self._used.items()}

    def free(self) -> Resources:
        return {name: amount - self._used.get(name, Decimal(0)) for name, amount in self.allocatable.items()}


@dataclass(frozen=True)
class Misfit:
    """Why a node can't take a pod; `preemptible` if the absence of other pods would help."""

    reasons: tuple[str, ...]
    preemptible: bool = False


def misfit(pod: Object, use: NodeUse) -> Misfit | None:
    """Return why the pod can't run on the node, or None if it can.

    The checks come in kube-scheduler's order, and the first that fails decides.
    """
    node = use.node
    spec = pod["spec"]
    if node.get("spec", {}).get("unschedulable") and not _tolerates_unschedulable(spec):
        return Misfit(("node(s) were unschedulable",))
    taint = untolerated_taint(spec, node, effects=("NoSchedule", "NoExecute"))
    if taint is not None:
        return Misfit((f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value') or ''}}}",))
    if not _matches_affinity(spec, node):
        return Misfit(("node(s) didn't match Pod's node affinity/selector",))
    wanted = _host_ports(pod)
    if wanted and wanted & {port for other in use.pods.values() for port in _host_ports(other)}:
        return Misfit(("node(s) didn't have free ports for the requested pod ports",), preemptible=True)
    return _insufficient(pod, use.allocatable, use.free())


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


def untolerated_taint(spec: Object, node: Object, effects: tuple[str, ...]) -> Object | None:
    for taint in (node.get("spec") or {}).get("taints") or []:
        if taint["effect"] in effects and not any(tolerates(t, taint) for t in spec.get("tolerations") or []):
            found: Object = taint
            return found
    return None


def tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return True
    return bool(toleration.get("key")) and (toleration.get("value") or "") == (taint.get("value") or "")


def _tolerates_unschedulable(spec: Object) -> bool:
    taint = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    return any(tolerates(toleration, taint) for toleration in spec.get("tolerations") or [])


def _matches_affinity(spec: Object, node: Object) -> bool:
    labels: dict[str, str] = node["metadata"].get("labels") or {}
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return required is None or any(_matches_term(term, node) for term in required["nodeSelectorTerms"])


def _matches_term(term: Object, node: Object) -> bool:
    expressions = term.get("matchExpressions") or []
    fields = term.get("matchFields") or []
    # A term without any requirement matches no node.
    if not expressions and not fields:
        return False
    labels: dict[str, str] = node["metadata"].get("labels") or {}
    return all(_matches(requirement, labels) for requirement in expressions) and all(
        _matches(requirement, {"metadata.name": node["metadata"]["name"]}) for requirement in fields
    )


def _matches(requirement: Object, labels: dict[str, str]) -> bool:
    value = labels.get(requirement["key"])
    values: list[Any] = requirement.get("values") or []
    match requirement["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt":
            return value is not None and _integer(value) > _integer(values[0])
        case "Lt":
            return value is not None and _integer(value) < _integer(values[0])
    return False


def _integer(text: str) -> float:
    try:
        return int(text)
    except ValueError:
        return float("nan")


def preferred_weight(pod: Object, node: Object) -> int:
    """Return the weight of the node affinities that are preferred and met."""
    affinity = ((pod["spec"].get("affinity") or {}).get("nodeAffinity")) or {}
    return sum(
        term["weight"]
        for term in affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or []
        if _matches_term(term["preference"], node)
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
