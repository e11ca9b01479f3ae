"""Random manifests, made from the models: mostly right, sometimes with one thing wrong."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from dask_k8s_models import KINDS
from dask_k8s_models.structural import structural_schema

Json = dict[str, Any]

NAMES = st.from_regex(r"[a-z]([-a-z0-9]{0,8}[a-z0-9])?", fullmatch=True)
INT32 = 2**31 - 1
NOT_RANDOM = {"metadata", "apiVersion", "kind", "status"}

SCHEMAS: dict[str, Json] = {kind: structural_schema(model) for kind, model in KINDS.items()}


@st.composite
def values(draw: DrawFn, schema: Json, depth: int = 0) -> Any:
    """Draw a value of a schema; deep down only what is required."""
    if "enum" in schema:
        return draw(st.sampled_from(schema["enum"]))
    if schema.get("x-kubernetes-int-or-string"):
        return draw(int_or_string(schema))
    match schema.get("type"):
        case "object":
            return draw(objects(schema, depth))
        case "array":
            return draw(lists(schema, depth))
        case "integer":
            low, high = schema.get("minimum", -5), schema.get("maximum", INT32)
            return draw(st.integers(low, high))
        case "number":
            return draw(st.floats(schema.get("minimum", -5), INT32) | st.integers(0, INT32))
        case "boolean":
            return draw(st.booleans())
        case _:
            return draw(strings(schema))


def strings(schema: Json) -> SearchStrategy[str]:
    """Draw a string that keeps pattern, length and format."""
    if schema.get("format") == "date-time":
        return st.just("2026-11-23T09:00:00Z")
    if "pattern" in schema:
        pattern = schema["pattern"].removeprefix("^").removesuffix("$")
        limit = schema.get("maxLength", 20)
        return st.from_regex(pattern, fullmatch=True).filter(
            lambda text: len(text) <= limit and text.isascii()
        )
    return st.text("abc-$().é ", min_size=schema.get("minLength", 0), max_size=8)


def int_or_string(schema: Json) -> SearchStrategy[int | str]:
    """Draw a number or a string."""
    return st.integers(schema.get("minimum", -5), INT32) | strings(schema)


@st.composite
def objects(draw: DrawFn, schema: Json, depth: int) -> Json:
    """Draw an object with all that is required and some of the rest."""
    properties = schema.get("properties", {})
    if isinstance(additional := schema.get("additionalProperties"), dict):
        keys = st.text("abc./-", min_size=1, max_size=5)
        return draw(st.dictionaries(keys, values(additional, depth + 1), max_size=2))
    chosen = list(schema.get("required", ()))
    optional = sorted(properties.keys() - set(chosen))
    if optional and depth < 9:
        chosen += draw(st.lists(st.sampled_from(optional), max_size=max(1, 4 - depth // 2), unique=True))
    return {name: draw(values(properties[name], depth + 1)) for name in sorted(chosen)}


@st.composite
def lists(draw: DrawFn, schema: Json, depth: int) -> list[Any]:
    """Draw a short list, without duplicates where there may be none."""
    items = draw(st.lists(values(schema["items"], depth + 1), min_size=schema.get("minItems", 0), max_size=2))
    if schema.get("x-kubernetes-list-type") == "set":
        return list(dict.fromkeys(items))
    if keys := schema.get("x-kubernetes-list-map-keys"):
        fields = schema["items"]["properties"]
        return list(
            {
                tuple(item.get(key, fields[key].get("default")) for key in keys): item for item in items
            }.values()
        )
    return items


@st.composite
def manifests(draw: DrawFn) -> Json:
    """Draw a manifest of any kind, as far as its schema goes; rules may be broken."""
    kind = draw(st.sampled_from(list(KINDS)))
    return {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": kind,
        "metadata": {"name": draw(NAMES)},
        "spec": draw(values(SCHEMAS[kind]["properties"]["spec"])),
    }


WRONG_VALUES = st.sampled_from(
    [None, True, 1.5, 3.0, -1, 2**40, "", "word", "10", [], {}, [None], {"a": None}]
)


@st.composite
def damaged_manifests(draw: DrawFn) -> Json:
    """Draw a manifest in which one thing was replaced, added or taken away."""
    manifest = copy.deepcopy(draw(manifests()))
    place, key = draw(st.sampled_from(list(places(manifest["spec"]))))
    match draw(st.sampled_from(["replace", "remove", "add"])):
        case "replace":
            place[key] = draw(WRONG_VALUES)
        case "remove":
            del place[key]
        case "add" if isinstance(place, dict):
            place[draw(st.sampled_from(["unknown", "Replicas", "image"]))] = draw(WRONG_VALUES)
        case "add":
            place.append(draw(WRONG_VALUES))
    return manifest


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place in a value: a container and a key or index."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield value, key
        yield from places(inner)
