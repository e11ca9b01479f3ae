"""CustomResourceDefinitions: accepted as soon as they are valid, established a moment later."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from dask_k8s_local.api import errors
from dask_k8s_local.api.errors import Cause
from dask_k8s_local.api.kinds.strategy import GenerationStrategy
from dask_k8s_local.api.meta import metadata, names
from dask_k8s_local.api.schema import jsonpath, structural
from dask_k8s_local.api.schema.cel_rules import compile_rules
from dask_k8s_local.api.schema.compiled import compile_schema
from dask_k8s_local.interfaces import Object

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_PROTECTED = (".k8s.io", ".kubernetes.io")
_APPROVAL = "api-approved.kubernetes.io"


class CrdStrategy(GenerationStrategy):
    """https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/"""

    unconditional_update = False

    def default(self, body: Object) -> None:
        spec = body.setdefault("spec", {})
        spec.setdefault("conversion", {}).setdefault("strategy", "None")
        own = spec.setdefault("names", {})
        if own.get("kind"):
            own.setdefault("singular", own["kind"].lower())
            own.setdefault("listKind", f"{own['kind']}List")

    def prepare_for_create(self, body: Object) -> None:
        self.default(body)
        body["status"] = {
            "acceptedNames": {"kind": "", "plural": ""},
            "conditions": None,
            "storedVersions": _stored(body["spec"]),
        }

    def holds(self, body: Object) -> bool:
        # The objects of a definition go before it does.
        return "deletionTimestamp" not in body["metadata"]

    def note_deletion(self, body: Object) -> Object:
        others = [one for one in body["metadata"].get("finalizers") or () if one != CLEANUP]
        return {**body, "metadata": {**body["metadata"], "finalizers": [*others, CLEANUP]}}

    def prepare_for_update(self, new: Object, old: Object) -> None:
        super().prepare_for_update(new, old)
        self.default(new)
        status = new.get("status") or {}
        stored = status.get("storedVersions") or []
        added = [name for name in _stored(new["spec"]) if name not in stored]
        is_established = bool(status.get("conditions"))
        if is_established and (added or status.get("acceptedNames") != new["spec"]["names"]):
            new["status"] = {
                **status,
                "storedVersions": [*stored, *added],
                "acceptedNames": new["spec"]["names"],
            }

    def validate(self, body: Object) -> Sequence[Cause]:
        return list(_problems(body))

    def validate_update(self, new: Object, old: Object) -> Sequence[Cause]:
        fixed = (("spec.group", "group"), ("spec.scope", "scope"))
        causes = [
            errors.invalid_value(path, new["spec"].get(key), "field is immutable")
            for path, key in fixed
            if new["spec"].get(key) != old["spec"].get(key)
        ]
        for key in ("plural", "kind"):
            value = new["spec"]["names"].get(key)
            if value != old["spec"]["names"].get(key):
                causes.append(errors.invalid_value(f"spec.names.{key}", value, "field is immutable"))
        return causes


def established(crd: Object) -> Object:
    """Return a definition as it is once its names are accepted and its objects served."""
    now = metadata.timestamp()
    status = {
        **crd["status"],
        "acceptedNames": crd["spec"]["names"],
        "conditions": [
            _condition("NamesAccepted", "NoConflicts", "no conflicts found", now),
            _condition("Established", "InitialNamesAccepted", "the initial names have been accepted", now),
        ],
    }
    return {**crd, "status": status}


def _condition(type_: str, reason: str, message: str, now: str) -> Object:
    return {"type": type_, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now}


def _stored(spec: Object) -> list[str]:
    return [one.get("name", "") for one in spec.get("versions") or () if one.get("storage")]


def _problems(body: Object) -> Iterator[Cause]:
    spec = body["spec"]
    own, versions = spec.get("names") or {}, spec.get("versions") or []
    for key in ("plural", "kind"):
        if not own.get(key):
            yield errors.required(f"spec.names.{key}")
    yield from _group_problems(spec.get("group") or "", body["metadata"])
    if spec.get("scope") not in ("Namespaced", "Cluster"):
        yield errors.not_supported("spec.scope", spec.get("scope"), ("Cluster", "Namespaced"))
    wanted = f"{own.get('plural')}.{spec.get('group')}"
    if body["metadata"].get("name") != wanted:
        yield errors.invalid_value(
            "metadata.name", body["metadata"].get("name"), 'must be spec.names.plural+"."+spec.group'
        )
    yield from _names_problems(own)
    if spec.get("preserveUnknownFields"):
        yield errors.invalid_value(
            "spec.preserveUnknownFields",
            True,
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in "
            "spec.versions[*].schema instead",
        )
    if sum(bool(one.get("storage")) for one in versions) != 1:
        detail = "must have exactly one version marked as storage version"
        yield errors.invalid_value("spec.versions", [one.get("name") for one in versions], detail)
    if len({one.get("name") for one in versions}) != len(versions):
        detail = "must contain unique version names"
        yield errors.invalid_value("spec.versions", [one.get("name") for one in versions], detail)
    if (spec.get("conversion") or {}).get("strategy") not in (None, "None"):
        yield errors.not_supported("spec.conversion.strategy", spec["conversion"]["strategy"], ("None",))
    for index, version in enumerate(versions):
        yield from _version_problems(version, f"spec.versions[{index}]", is_only=len(versions) == 1)


def _group_problems(group: str, own: Object) -> Iterator[Cause]:
    if not group:
        yield errors.required("spec.group")
    elif problem := names.subdomain_problem(group):
        yield errors.invalid_value("spec.group", group, problem)
    elif "." not in group:
        yield errors.invalid_value("spec.group", group, "should be a domain with at least one dot")
    elif f".{group}".endswith(_PROTECTED) and not (own.get("annotations") or {}).get(_APPROVAL):
        yield errors.required(
            f"metadata.annotations[{_APPROVAL}]",
            f'protected groups must have approval annotation "{_APPROVAL}", '
            "see https://github.com/kubernetes/enhancements/pull/1111",
        )


def _names_problems(own: Object) -> Iterator[Cause]:
    labels = [(f"spec.names.{key}", own.get(key)) for key in ("plural", "singular")]
    for key in ("shortNames", "categories"):
        labels += [(f"spec.names.{key}[{index}]", one) for index, one in enumerate(own.get(key) or ())]
    for path, label in labels:
        if label and (problem := names.dns_1035_problem(label)):
            yield errors.invalid_value(path, label, problem)
    for key in ("kind", "listKind"):
        if own.get(key) and (problem := names.dns_1035_problem(own[key].lower())):
            yield errors.invalid_value(
                f"spec.names.{key}", own[key], f"may have mixed case, but should otherwise match: {problem}"
            )
    if own.get("kind") and own.get("kind") == own.get("listKind"):
        yield errors.invalid_value(
            "spec.names.listKind", own["listKind"], "kind and listKind may not be the same"
        )


def _version_problems(version: Object, path: str, *, is_only: bool) -> Iterator[Cause]:
    if not version.get("name") or names.dns_1035_problem(version["name"]):
        detail = names.dns_1035_problem(version.get("name") or "") or ""
        yield errors.invalid_value(f"{path}.name", version.get("name"), detail)
    schema: Any = (version.get("schema") or {}).get("openAPIV3Schema")
    # A schema that all versions share is validated where Kubernetes keeps it.
    place = "spec.validation.openAPIV3Schema" if is_only else f"{path}.schema.openAPIV3Schema"
    if schema is None:
        yield errors.required(f"{path}.schema.openAPIV3Schema", "schemas are required")
        return
    found = structural.problems(schema, place)
    yield from found
    if not found:
        rule_problems: list[Cause] = []
        compile_rules(compile_schema(schema), place, rule_problems)
        yield from rule_problems
    # So are the columns and subresources.
    place = "spec" if is_only else path
    for index, column in enumerate(version.get("additionalPrinterColumns") or ()):
        yield from _column_problems(column, f"{place}.additionalPrinterColumns[{index}]")
    scale = (version.get("subresources") or {}).get("scale")
    if scale is not None:
        yield from _scale_problems(scale, f"{place}.subresources.scale")


def _column_problems(column: Object, path: str) -> Iterator[Cause]:
    for key, field in (("name", "name"), ("type", "type"), ("jsonPath", "JSONPath")):
        if not column.get(key):
            yield errors.required(f"{path}.{field}")
    if column.get("type") and column["type"] not in _COLUMN_TYPES:
        detail = f"must be one of {','.join(_COLUMN_TYPES)}"
        yield errors.invalid_value(f"{path}.type", column["type"], detail)
    json_path = column.get("jsonPath") or ""
    if json_path and not json_path.startswith("."):
        yield errors.invalid_value(
            f"{path}.JSONPath", json_path, "must be a simple json path starting with ."
        )
        return
    try:
        jsonpath.find({}, json_path)
    except jsonpath.JsonPathError as error:
        yield errors.invalid_value(f"{path}.JSONPath", json_path, str(error))


def _scale_problems(scale: Object, path: str) -> Iterator[Cause]:
    starts = {
        "specReplicasPath": (".spec.",),
        "statusReplicasPath": (".status.",),
        "labelSelectorPath": (".spec.", ".status."),
    }
    for key, allowed in starts.items():
        value = scale.get(key)
        if not value:
            if key != "labelSelectorPath":
                yield errors.required(f"{path}.{key}")
        elif not value.startswith(allowed):
            detail = f"should be a json path under {' or '.join(one[:-1] for one in allowed)}"
            yield errors.invalid_value(f"{path}.{key}", value, detail)
