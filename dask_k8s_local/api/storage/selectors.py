"""Label and field selectors, as they stand in a query."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dask_k8s_local.api import errors
from dask_k8s_local.api.meta import names
from dask_k8s_local.api.resource import Resource
from dask_k8s_local.interfaces import Object

Matches = Callable[[Object], bool]
_Requirement = Callable[[dict[str, str]], bool]

_SET = re.compile(r"\s*(?P<key>[^\s,!=()]+)\s+(?P<op>in|notin)\s*\((?P<values>[^)]*)\)\s*(?:,|$)")
_EQUALITY = re.compile(r"\s*(?P<key>[^\s,!=()<>]+)\s*(?P<op>==|=|!=)\s*(?P<value>[^\s,!=()]*)\s*(?:,|$)")
_ORDER = re.compile(r"\s*(?P<key>[^\s,!=()<>]+)\s*(?P<op>>|<)\s*(?P<value>-?\d+)\s*(?:,|$)")
_EXISTS = re.compile(r"\s*(?P<not>!?)\s*(?P<key>[^\s,!=()<>]+)\s*(?:,|$)")


def label_requirements(selector: str) -> list[_Requirement]:
    """Parse ``a=b,c in (d, e),!f``; what can't be parsed is refused with 400."""
    requirements: list[_Requirement] = []
    position = 0
    while position < len(selector):
        if match := _SET.match(selector, position):
            values = frozenset(value.strip() for value in match["values"].split(","))
            requirements.append(_one_of(match["key"], values, negated=match["op"] == "notin"))
        elif match := _EQUALITY.match(selector, position):
            values = frozenset((match["value"],))
            requirements.append(_one_of(match["key"], values, negated=match["op"] == "!="))
        elif match := _ORDER.match(selector, position):
            requirements.append(_ordered(match["key"], match["op"], int(match["value"])))
        elif match := _EXISTS.match(selector, position):
            requirements.append(_present(match["key"], negated=bool(match["not"])))
        else:
            raise errors.bad_request(
                f"unable to parse requirement: found {selector[position:]!r} in label selector {selector!r}"
            )
        if problem := names.qualified_name_problem(match["key"]):
            raise errors.bad_request(
                f"unable to parse requirement: <nil>: Invalid value: {errors.show(match['key'])}: {problem}"
            )
        position = match.end()
    return requirements


def _one_of(key: str, values: frozenset[str], *, negated: bool) -> _Requirement:
    if negated:
        return lambda labels: key not in labels or labels[key] not in values
    return lambda labels: labels.get(key) in values


def _ordered(key: str, operator: str, bound: int) -> _Requirement:
    def holds(labels: dict[str, str]) -> bool:
        try:
            value = int(labels[key])
        except (KeyError, ValueError):
            return False
        return value > bound if operator == ">" else value < bound

    return holds


def _present(key: str, *, negated: bool) -> _Requirement:
    return (lambda labels: key not in labels) if negated else (lambda labels: key in labels)


_COMMON_FIELDS = frozenset(("metadata.name", "metadata.namespace"))
_FIELDS: dict[str, frozenset[str]] = {
    "pods": frozenset(
        (
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        )
    ),
    "events": frozenset(
        (
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        )
    ),
    "nodes": frozenset(("spec.unschedulable",)),
    "namespaces": frozenset(("status.phase",)),
    "secrets": frozenset(("type",)),
    "services": frozenset(("spec.clusterIP", "spec.type")),
    "replicasets.apps": frozenset(("status.replicas",)),
    "jobs.batch": frozenset(("status.successful",)),
}
_EMPTY_VALUES = {"spec.unschedulable": "false", "spec.hostNetwork": "false", "status.replicas": "0"}


def _field_text(body: Object, path: str) -> str:
    value: Any = body
    for step in path.split("."):
        if not isinstance(value, dict):
            value = None
            break
        value = value.get(step)
    if path == "source" and isinstance(value, dict):
        value = value.get("component") or body.get("reportingComponent")
    if value is None:
        return _EMPTY_VALUES.get(path, "")
    return str(value).lower() if isinstance(value, bool) else str(value)


def field_requirements(
    resource: Resource, selector: str, more_fields: frozenset[str] = frozenset()
) -> list[tuple[str, str, bool]]:
    """Parse ``metadata.name=a,status.phase!=Running`` into path, value and whether it must be equal."""
    known = _COMMON_FIELDS | _FIELDS.get(resource.full_name, frozenset()) | more_fields
    requirements = []
    for part in filter(None, (part.strip() for part in selector.split(","))):
        path, operator, value = next(
            (
                (path, operator, value)
                for operator in ("!=", "==", "=")
                for path, found, value in (part.partition(operator),)
                if found
            ),
            ("", "", ""),
        )
        if not operator:
            raise errors.bad_request(f"invalid field selector {selector!r}: can't understand {part!r}")
        if path not in known:
            raise errors.bad_request(
                f"field label not supported: {path}"
                if resource.full_name in _FIELDS
                else f"{errors.show(path)} is not a known field selector: "
                f"only {', '.join(map(errors.show, sorted(known)))}"
            )
        requirements.append((path, value, operator != "!="))
    return requirements


@dataclass(frozen=True)
class Selection:
    """Which objects of a resource a list or a watch is about; equal selections are judged once."""

    namespace: str | None = None
    label_selector: str = ""
    field_selector: str = ""


def matcher(
    resource: Resource, selection: Selection, more_fields: frozenset[str] = frozenset()
) -> Matches | None:
    """Return the test for labels and fields, None if there is nothing to test."""
    labels = label_requirements(selection.label_selector)
    fields = field_requirements(resource, selection.field_selector, more_fields)
    if not labels and not fields:
        return None

    def matches(body: Object) -> bool:
        own = body["metadata"].get("labels") or {}
        return all(holds(own) for holds in labels) and all(
            (_field_text(body, path) == value) is equal for path, value, equal in fields
        )

    return matches


def exact_name(selection: Selection) -> str | None:
    """Return the one name that a selection allows, if it allows one only."""
    for part in selection.field_selector.split(","):
        path, _, value = part.partition("=")
        if path.strip() == "metadata.name":
            return value.lstrip("=").strip()
    return None
