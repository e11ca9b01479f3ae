"""LabelSelector objects as the text that a list takes."""

from __future__ import annotations

from dask_k8s_local.interfaces import Object

_OPERATORS = {
    "In": "{key} in ({values})",
    "NotIn": "{key} notin ({values})",
    "Exists": "{key}",
    "DoesNotExist": "!{key}",
}


def selector_text(selector: Object | None) -> str:
    """Write a ``LabelSelector`` the way that a query, or ``status.selector``, holds it."""
    selector = selector or {}
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for one in selector.get("matchExpressions") or ():
        values = ",".join(sorted(one.get("values") or ()))
        parts.append(_OPERATORS[one["operator"]].format(key=one["key"], values=values))
    return ",".join(parts)


def selects(selector: Object | None, labels: dict[str, str]) -> bool:
    """Judge labels by a ``LabelSelector``: an empty one selects everything, a missing one nothing."""
    if selector is None:
        return False
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_holds(one, labels) for one in selector.get("matchExpressions") or ())


def _holds(requirement: Object, labels: dict[str, str]) -> bool:
    key, operator = requirement["key"], requirement["operator"]
    values = requirement.get("values") or ()
    if operator == "In":
        return labels.get(key) in values
    if operator == "NotIn":
        return key not in labels or labels[key] not in values
    return (key in labels) is (operator == "Exists")
