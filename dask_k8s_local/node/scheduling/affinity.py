"""Which pods want to be together, apart, or spread: kube-scheduler's InterPodAffinity and PodTopologySpread.

See https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/ and
https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/.
What is only preferred isn't weighed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dask_k8s_local.interfaces import Object
from dask_k8s_local.node.scheduling.requirements import labels_of, matches_affinity, matches_selector
from dask_k8s_local.node.scheduling.taints import refusal_by_taint
from dask_k8s_local.node.scheduling.use import NodeUse

Uses = Mapping[str, NodeUse]
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def placement_misfit(pod: Object, use: NodeUse, uses: Uses) -> str:
    """Return why a pod may not be placed beside the others, in kube-scheduler's words; empty if it may."""
    return _spread_misfit(pod, use, uses) or _affinity_misfit(pod, use, uses)


def _spread_misfit(pod: Object, use: NodeUse, uses: Uses) -> str:
    for constraint in pod["spec"].get("topologySpreadConstraints") or []:
        if constraint["whenUnsatisfiable"] != "DoNotSchedule":
            continue
        key = constraint["topologyKey"]
        if key not in labels_of(use.node):
            return "node(s) didn't match pod topology spread constraints (missing required label)"
        counts: dict[str, int] = {}
        for other in uses.values():
            domain = labels_of(other.node).get(key)
            if domain is not None and _counts(pod["spec"], other.node, constraint):
                counts.setdefault(domain, 0)
                counts[domain] += sum(_is_spread_with(pod, each, constraint) for each in other.pods.values())
        if counts[labels_of(use.node)[key]] + 1 - min(counts.values()) > constraint["maxSkew"]:
            return "node(s) didn't match pod topology spread constraints"
    return ""


def _counts(spec: Object, node: Object, constraint: Object) -> bool:
    """Whether pods are spread over a node, too."""
    honors = constraint.get("nodeTaintsPolicy") == "Honor"
    return matches_affinity(spec, node) and not (honors and refusal_by_taint(spec, node))


def _is_spread_with(pod: Object, other: Object, constraint: Object) -> bool:
    keys = constraint.get("matchLabelKeys") or []
    return (
        not other["metadata"].get("deletionTimestamp")
        and other["metadata"].get("namespace") == pod["metadata"].get("namespace")
        and matches_selector(constraint.get("labelSelector"), labels_of(other))
        and all(labels_of(other).get(key) == labels_of(pod).get(key) for key in keys)
    )


def _affinity_misfit(pod: Object, use: NodeUse, uses: Uses) -> str:
    for term in _terms(pod, "podAffinity"):
        together = [other for other in _in_domain(use, uses, term) if _selects(term, pod, other)]
        if not together and not _is_first_of_its_kind(pod, use, uses, term):
            return "node(s) didn't match pod affinity rules"
    for term in _terms(pod, "podAntiAffinity"):
        if any(_selects(term, pod, other) for other in _in_domain(use, uses, term)):
            return "node(s) didn't match pod anti-affinity rules"
    for other in uses.values():
        for each in other.repelling():
            for term in _terms(each, "podAntiAffinity"):
                if _same_domain(use, other, term["topologyKey"]) and _selects(term, each, pod):
                    return "node(s) didn't satisfy existing pods anti-affinity rules"
    return ""


def _terms(pod: Object, kind: str) -> list[Object]:
    terms: list[Object] = ((pod["spec"].get("affinity") or {}).get(kind) or {}).get(REQUIRED) or []
    return terms


def _in_domain(use: NodeUse, uses: Uses, term: Object) -> Iterable[Object]:
    for other in uses.values():
        if _same_domain(use, other, term["topologyKey"]):
            yield from other.pods.values()


def _same_domain(one: NodeUse, other: NodeUse, key: str) -> bool:
    domain = labels_of(one.node).get(key)
    return domain is not None and labels_of(other.node).get(key) == domain


def _selects(term: Object, owner: Object, other: Object) -> bool:
    """Return whether the term of one pod is about another pod."""
    namespaces = term.get("namespaces") or []
    if term.get("namespaceSelector") is None and not namespaces:
        namespaces = [owner["metadata"]["namespace"]]
    # An empty namespaceSelector means all; namespaces' labels are not looked at.
    is_everywhere = term.get("namespaceSelector") is not None
    is_in_scope = is_everywhere or other["metadata"]["namespace"] in namespaces
    return is_in_scope and matches_selector(term.get("labelSelector"), labels_of(other))


def _is_first_of_its_kind(pod: Object, use: NodeUse, uses: Uses, term: Object) -> bool:
    """Return whether a pod that wants to be with its like may begin here, as there is none yet."""
    return (
        term["topologyKey"] in labels_of(use.node)
        and _selects(term, pod, pod)
        and not any(_selects(term, pod, each) for other in uses.values() for each in other.pods.values())
    )
