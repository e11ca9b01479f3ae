"""CRDs: each version that is served becomes a resource."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dask_k8s_local.api import errors
from dask_k8s_local.api.errors import Cause
from dask_k8s_local.api.kinds.served import Column, ScalePaths, Served
from dask_k8s_local.api.kinds.strategy import Strategy
from dask_k8s_local.api.resource import Resource
from dask_k8s_local.api.schema.cel_rules import compile_rules, violations
from dask_k8s_local.api.schema.compiled import ANYTHING, Schema, compile_schema, definition
from dask_k8s_local.api.schema.decode import decode
from dask_k8s_local.interfaces import Object

_BLOCKING = frozenset(
    (
        "FieldValueNotSupported",
        "FieldValueRequired",
        "FieldValueTooLong",
        "FieldValueTooMany",
        "FieldValueTypeInvalid",
    )
)
_NOT_CHECKED = Cause(
    "FieldValueInvalid",
    "<nil>",
    "Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation",
)
_MOST = 2**31 - 1
_GO_TYPES = {
    str: "string",
    bool: "bool",
    float: "float64",
    dict: "map[string]interface {}",
    list: "[]interface {}",
}
_OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


class CustomStrategy(Strategy):
    """Objects of a CRD: with a status subresource everything but metadata and status counts as spec."""

    has_generation = True
    unconditional_update = False

    def __init__(self, schema: Schema, *, has_status: bool, scale: ScalePaths | None = None) -> None:
        self.has_status = has_status
        self.scale = scale
        self._schema = schema
        self._rules = compile_rules(schema, "", [])

    def default(self, body: Object) -> None:
        """Fill in again what storing leaves out, as a status that a client sent is no status yet."""
        for key, child in self._schema.defaults:
            if key not in body:
                body[key] = decode(child, child.default, [])

    def validate(self, body: Object) -> Sequence[Cause]:
        if self.scale is None:
            return ()
        return (
            *replicas_problems(body, self.scale.spec_replicas),
            *self.validate_subresource("status", body),
        )

    def validate_subresource(self, subresource: str, body: Object) -> Sequence[Cause]:
        if self.scale is None or subresource != "status":
            return ()
        return tuple(replicas_problems(body, self.scale.status_replicas))

    def validate_rules(self, new: Object, old: Object | None, causes: Sequence[Cause]) -> Sequence[Cause]:
        if self._rules is None:
            return ()
        if any(cause.reason in _BLOCKING for cause in causes):
            return (_NOT_CHECKED,)
        return tuple(violations(self._rules, new, old))

    def prepare_for_subresource(self, subresource: str, new: Object, old: Object) -> None:
        super().prepare_for_subresource(subresource, new, old)
        managed = new["metadata"].get("managedFields")
        version = new["metadata"]["resourceVersion"]
        new["metadata"] = {**old["metadata"], "resourceVersion": version}
        if managed:
            new["metadata"]["managedFields"] = managed


def served_versions(crd: Object) -> Iterator[Served]:
    """Yield the resources that a CRD defines, the preferred version first."""
    spec = crd["spec"]
    for version in spec["versions"]:
        if version.get("served"):
            revision = f"{crd['metadata']['uid']}/{crd['metadata'].get('generation')}"
            yield _served(spec, version, revision)


def _served(spec: Object, version: Object, revision: str) -> Served:
    accepted = spec["names"]
    subresources = version.get("subresources") or {}
    scale = _scale_paths(subresources.get("scale"))
    resource = Resource(
        spec["group"],
        version["name"],
        accepted["plural"],
        accepted["kind"],
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(accepted.get("shortNames") or ()),
        categories=tuple(accepted.get("categories") or ()),
        subresources=tuple(sorted(subresources)),
        singular=accepted.get("singular", ""),
        list_kind=accepted.get("listKind", ""),
        custom=True,
    )
    schema = custom_schema((version.get("schema") or {}).get("openAPIV3Schema") or {})
    return Served(
        resource,
        schema,
        CustomStrategy(schema, has_status="status" in subresources, scale=scale),
        columns=tuple(_columns(version.get("additionalPrinterColumns") or ())),
        scale=scale,
        selectable_fields=frozenset(
            one["jsonPath"].removeprefix(".") for one in version.get("selectableFields") or ()
        ),
        revision=revision,
    )


def _scale_paths(scale: Object | None) -> ScalePaths | None:
    if not scale:
        return None
    return ScalePaths(
        scale["specReplicasPath"], scale["statusReplicasPath"], scale.get("labelSelectorPath", "")
    )


def custom_schema(source: Mapping[str, Any]) -> Schema:
    """Compile a version's schema; metadata is checked by Kubernetes' own definition."""
    schema = compile_schema(source)
    schema.is_custom = True
    schema.properties["metadata"] = definition(_OBJECT_META)
    schema.properties.setdefault("apiVersion", ANYTHING)
    schema.properties.setdefault("kind", ANYTHING)
    return schema


def _columns(source: Any) -> Iterator[Column]:
    if not source:
        yield Column("Age", "date", ".metadata.creationTimestamp")
    for one in source:
        yield Column(
            one["name"],
            one["type"],
            one["jsonPath"],
            one.get("description")
            or f"Custom resource definition column (in JSONPath format): {one['jsonPath']}",
            one.get("format", ""),
            one.get("priority", 0),
        )


def replicas_problems(body: Object, path: str) -> Iterator[Cause]:
    """Yield why what a path leads to is no number of replicas; no number at all is fine.

    A number that is written with a point, such as ``2.0``, is none: Kubernetes reads it as a float.
    """
    *parents, last = path.removeprefix(".").split(".")
    value: Any = body
    for depth, key in enumerate(parents, 1):
        value = value.get(key)
        if value is None:
            return
        if not isinstance(value, dict):
            place = "." + ".".join(parents[:depth])
            yield errors.invalid_value(path, 0, _misread(place, value, "map[string]interface {}"))
            return
    value = value.get(last)
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        yield errors.invalid_value(path, 0, _misread(path, value, "int64"))
    elif value < 0:
        yield errors.invalid_value(path, value, "should be a non-negative integer")
    elif value > _MOST:
        yield errors.invalid_value(path, value, f"should be less than or equal to {_MOST}")


def _misread(path: str, value: Any, wanted: str) -> str:
    shown = f"{value:g}" if isinstance(value, float) else errors.show(value).strip('"')
    actual = _GO_TYPES.get(type(value), "int64")
    return f"{path} accessor error: {shown} is of the type {actual}, expected {wanted}"
