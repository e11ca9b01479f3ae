"""How Kubernetes' own types are made: markers in place of raw extras, tables that can't rot."""

from __future__ import annotations

import pytest

from dask_k8s_models import generate


def test_newest_release_is_the_one_in_use() -> None:
    from dask_k8s_models._kubernetes import RELEASE

    release, _ = generate.newest_definitions()
    assert release == RELEASE


def test_selection_is_closed() -> None:
    _, definitions = generate.newest_definitions()
    types = generate.selected(definitions)
    assert {"PodSpec", "ServiceSpec", "ObjectMeta", "Container"} <= types.keys()
    for name, schema in types.items():
        for reference in generate.references(schema):
            assert reference.removeprefix("#/$defs/") in types, name


def test_a_table_with_a_field_that_is_gone_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(generate.ENUMS, "PodSpec.gone", ["A"])
    _, definitions = generate.newest_definitions()
    with pytest.raises(SystemExit, match=r"PodSpec\.gone: no such field any more"):
        generate.selected(definitions)


@pytest.mark.parametrize(
    ("source", "marked"),
    [
        (
            'Field(json_schema_extra={"x-kubernetes-list-map-keys": ["a"], "x-kubernetes-list-type": "map"})',
            'ListMap("a")',
        ),
        (
            'Field(\n json_schema_extra={\n "x-kubernetes-list-type": "set",\n },\n min_length=1,\n)',
            "ListSet(), Field(min_length=1)",
        ),
        ('Field(json_schema_extra={"x-kubernetes-map-type": "atomic"})', "AtomicMap()"),
        ("Field(min_length=1)", "Field(min_length=1)"),
    ],
)
def test_extras_become_markers(source: str, marked: str) -> None:
    assert generate.with_markers(source) == marked
