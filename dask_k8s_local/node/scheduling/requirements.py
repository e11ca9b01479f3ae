"""Selectors: what labels must be, for nodes and for pods."""

from __future__ import annotations

from typing import Any

from dask_k8s_local.interfaces import Object

Labels = dict[str, str]


def labels_of(body: Object) -> Labels:
    return body["metadata"].get("labels") or {}


def matches_selector(selector: Object | None, labels: Labels) -> bool:
    """Return whether a LabelSelector selects; an empty one selects everything, none nothing."""
    if selector is None:
        return False
    wanted = selector.get("matchLabels") or {}
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _matches(requirement, labels) for requirement in selector.get("matchExpressions") or []
    )


def matches_affinity(spec: Object, node: Object) -> bool:
    """Return whether a node has what a pod's nodeSelector and required nodeAffinity ask for."""
    labels = labels_of(node)
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return required is None or any(_matches_term(term, node) for term in required["nodeSelectorTerms"])


def preferred_weight(pod: Object, node: Object) -> int:
    """Return the weight of the node affinities that are preferred and met."""
    affinity = ((pod["spec"].get("affinity") or {}).get("nodeAffinity")) or {}
    return sum(
        term["weight"]
        for term in affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or []
        if _matches_term(term["preference"], node)
    )


def _matches_term(term: Object, node: Object) -> bool:
    expressions = term.get("matchExpressions") or []
    fields = term.get("matchFields") or []
    # A term without any requirement matches no node.
    if not expressions and not fields:
        return False
    return all(_matches(requirement, labels_of(node)) for requirement in expressions) and all(
        _matches(requirement, {"metadata.name": node["metadata"]["name"]}) for requirement in fields
    )


def _matches(requirement: Object, labels: Labels) -> bool:
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
