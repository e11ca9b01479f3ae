"""CustomResourceDefinitions: accepted and established as soon as they are valid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from dask_k8s_local.api import errors, jsonpath, metadata, names, structural
from dask_k8s_local.api.cel_rules import compile_rules
from dask_k8s_local.api.errors import Cause
from dask_k8s_local.api.schema import compile_schema
from dask_k8s_local.api.strategy import GenerationStrategy
from dask_k8s_local.interfaces import Object

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
_COLUMN_TYPES = ("integer", "number", "string", "boolean", "date")


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
        now = metadata.timestamp()
        self.default(body)
        spec, own = body["spec"], body["metadata"]
        own["finalizers"] = [*(one for one in own.get("finalizers") or () if one != CLEANUP), CLEANUP]
        body["status"] = {
            "acceptedNames": spec["names"],
            "conditions": [
                _condition("NamesAccepted", "NoConflicts", "no conflicts found", now),
                _condition(
                    "Established", "InitialNamesAccepted", "the initial names have been accepted", now
                ),
            ],
            "storedVersions": _stored(spec),
        }

    def prepare_for_update(self, new: Object, old: Object) -> None:
        super().prepare_for_update(new, old)
        self.default(new)
        status = new.get("status") or {}
        stored = status.get("storedVersions") or []
        added = [name for name in _stored(new["spec"]) if name not in stored]
        if status and (added or status.get("acceptedNames") != new["spec"]["names"]):
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
    if not spec.get("group"):
        yield errors.required("spec.group")
    if spec.get("scope") not in ("Namespaced", "Cluster"):
        yield errors.not_supported("spec.scope", spec.get("scope"), ("Cluster", "Namespaced"))
    wanted = f"{own.get('plural')}.{spec.get('group')}"
    if body["metadata"].get("name") != wanted:
        yield errors.invalid_value(
            "metadata.name", body["metadata"].get("name"), 'must be spec.names.plural+"."+spec.group'
        )
    for name in ("plural", "singular"):
        if own.get(name) and (problem := names.dns_1035_problem(own[name])):
            yield errors.invalid_value(f"spec.names.{name}", own[name], problem)
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
    if (spec.get("conversion") or {}).get("strategy") not in (None, "None"):
        yield errors.not_supported("spec.conversion.strategy", spec["conversion"]["strategy"], ("None",))
    for index, version in enumerate(versions):
        yield from _version_problems(version, f"spec.versions[{index}]", is_only=len(versions) == 1)


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
    for index, column in enumerate(version.get("additionalPrinterColumns") or ()):
        yield from _column_problems(column, f"{path}.additionalPrinterColumns[{index}]")
    scale = (version.get("subresources") or {}).get("scale")
    if scale is not None:
        yield from _scale_problems(scale, f"{path}.subresources.scale")


def _column_problems(column: Object, path: str) -> Iterator[Cause]:
    for key in ("name", "type", "jsonPath"):
        if not column.get(key):
            yield errors.required(f"{path}.{key}")
    if column.get("type") and column["type"] not in _COLUMN_TYPES:
        yield errors.not_supported(f"{path}.type", column["type"], _COLUMN_TYPES)
    try:
        jsonpath.find({}, column.get("jsonPath") or "")
    except jsonpath.JsonPathError as error:
        yield errors.invalid_value(f"{path}.jsonPath", column["jsonPath"], str(error))


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
