"""The generated CustomResourceDefinitions: structural, small, complete."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cel_expr_python import cel

from dask_k8s_local.api.schema import structural
from dask_k8s_models import KINDS, custom_resource_definitions
from dask_k8s_models.crd import SIZE_LIMIT, compact_size, generated_files
from dask_k8s_models.structural import structural_schema

Json = dict[str, Any]

PROJECT = Path(__file__).parents[3]

DEFINITIONS = {
    definition["spec"]["names"]["kind"]: definition for definition in custom_resource_definitions()
}

each_kind = pytest.mark.parametrize("kind", list(KINDS))


def schema_of(kind: str) -> Json:
    schema: Json = version_of(kind)["schema"]["openAPIV3Schema"]
    return schema


def version_of(kind: str) -> Json:
    [version] = DEFINITIONS[kind]["spec"]["versions"]
    assert isinstance(version, dict)
    return version


def field_at(schema: Json, path: str) -> Json | None:
    """Return the schema of a field, by a simple JSON path such as ``.spec.worker.replicas``."""
    for name in path.removeprefix(".").split("."):
        inner = schema.get("properties", {}).get(name)
        if inner is None:
            return None
        schema = inner
    return schema


@each_kind
def test_schema_is_structural(kind: str) -> None:
    assert structural.problems(schema_of(kind), "schema") == []


@each_kind
def test_definition_fits_into_an_annotation(kind: str) -> None:
    assert compact_size(DEFINITIONS[kind]) <= SIZE_LIMIT


def test_generated_files_are_up_to_date() -> None:
    for path, content in generated_files().items():
        assert (PROJECT / path).read_text() == content, f"{path}: run `make schemas`"


def test_one_file_has_all_definitions() -> None:
    text = (PROJECT / "schemas" / "crds.yaml").read_text()
    assert list(yaml.load_all(text, Loader=yaml.CSafeLoader)) == list(DEFINITIONS.values())
    assert not [line for line in text.splitlines() if line.lstrip().startswith(("<<", "&", "*"))]


@each_kind
def test_every_field_of_ours_is_explained(kind: str) -> None:
    def without_description(schema: Json, path: str) -> Iterator[str]:
        for name, field in schema.get("properties", {}).items():
            if "description" not in field:
                yield f"{path}.{name}"
            if not {"containers", "clusterIP"} & field.get("properties", {}).keys():
                yield from without_description(field, f"{path}.{name}")

    schema = schema_of(kind)
    for part in ("spec", "status"):
        assert list(without_description(schema["properties"][part], part)) == []


@each_kind
def test_paths_lead_to_fields(kind: str) -> None:
    version, schema = version_of(kind), schema_of(kind)
    paths = [column["jsonPath"] for column in version["additionalPrinterColumns"]]
    if scale := version["subresources"].get("scale"):
        paths += scale.values()
    for path in paths:
        assert path.startswith(".metadata.") or field_at(schema, path), path


@each_kind
def test_status_is_a_subresource_and_open_to_plugins(kind: str) -> None:
    assert version_of(kind)["subresources"]["status"] == {}
    status = schema_of(kind)["properties"]["status"]
    assert status["x-kubernetes-preserve-unknown-fields"] is True
    assert status["properties"]["conditions"]["x-kubernetes-list-map-keys"] == ["type"]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_that_users_write_can_be_nested_without_bound(kind: str) -> None:
    spec = structural_schema(KINDS[kind])["properties"]["spec"]
    assert "x-kubernetes-preserve-unknown-fields" not in str(spec)


def test_clusters_and_groups_can_be_scaled() -> None:
    scaled = {kind for kind in KINDS if "scale" in version_of(kind)["subresources"]}
    assert scaled == {"DaskCluster", "DaskWorkerGroup"}
    for kind in scaled:
        replicas = field_at(schema_of(kind), ".spec.worker.replicas")
        assert replicas is not None
        assert replicas["default"] == 1, "without a value, the scale subresource has nothing to read"


def test_kubectl_knows_the_short_names() -> None:
    short = {kind: DEFINITIONS[kind]["spec"]["names"]["shortNames"] for kind in KINDS}
    assert short["DaskCluster"] == ["daskcluster", "dsk"]
    assert short["DaskWorkerGroup"] == ["daskworkers"]
    assert short["DaskJob"] == ["djb"]
    assert all(DEFINITIONS[kind]["spec"]["names"]["categories"] == ["dask"] for kind in KINDS)


def defaults(schema: Json, path: str = "") -> Iterator[str]:
    for name, field in schema.get("properties", {}).items():
        if "default" in field:
            yield f"{path}.{name}"
        yield from defaults(field, f"{path}.{name}")
    if isinstance(schema.get("items"), dict):
        yield from defaults(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from defaults(schema["additionalProperties"], f"{path}[]")


def test_the_api_server_fills_in_little() -> None:
    assert set(defaults(schema_of("DaskCluster"))) == {
        ".spec.suspend",
        ".spec.worker.replicas",
        ".spec.worker.drainTimeoutSeconds",
        ".spec.worker.disruptionBudget.maxUnavailable",
        ".spec.worker.updateStrategy.type",
        ".spec.worker.updateStrategy.rollingUpdate.maxUnavailable",
        ".status",
    }


@each_kind
def test_nothing_is_filled_in_inside_lists(kind: str) -> None:
    """``kubectl apply`` and GitOps tools compare lists as a whole: they would see a change for ever."""
    assert [path for path in defaults(schema_of(kind)) if "[]" in path] == []


def test_what_a_job_leaves_unset_stays_unset() -> None:
    """Without a backoffLimit a job runs until it succeeds: a default would make it another job."""
    filled_in = {path for path in defaults(schema_of("DaskJob")) if path.count(".") == 2}
    assert filled_in == {".spec.suspend", ".spec.cleanupPolicy"}


def test_an_autoscaler_is_filled_in_as_documented() -> None:
    assert set(defaults(schema_of("DaskAutoscaler"))) == {
        ".spec.minimum",
        ".spec.priority",
        ".spec.behavior.scaleUp.stabilizationWindowSeconds",
        ".spec.behavior.scaleDown.stabilizationWindowSeconds",
        ".spec.behavior.scaleDown.maxPercent",
        ".status",
    }


def rules(schema: Json, path: str = "") -> Iterator[tuple[str, Json, Json]]:
    for rule in schema.get("x-kubernetes-validations", ()):
        yield path, rule, schema
    for name, field in schema.get("properties", {}).items():
        yield from rules(field, f"{path}.{name}")


@each_kind
def test_rules_compile_and_point_to_fields(kind: str) -> None:
    environment = cel.NewEnv(variables={"self": cel.Type.DYN, "oldSelf": cel.Type.DYN})
    for path, rule, schema in rules(schema_of(kind)):
        environment.compile(rule["rule"])
        assert "fieldPath" not in rule or field_at(schema, rule["fieldPath"]), (path, rule)
        assert not rule.get("fieldPath", "").startswith(".metadata"), "the API server refuses such a path"
        if "fieldPath" not in rule:
            assert "metadata.name" in rule["message"], "nothing else would name the field"


@each_kind
def test_no_rule_runs_once_per_item(kind: str) -> None:
    """A rule below a list or map costs its price times the longest possible list."""

    def below_items(schema: Json) -> Iterator[Json]:
        for key in ("items", "additionalProperties"):
            if isinstance(schema.get(key), dict):
                yield from (rule for _, rule, _ in rules(schema[key]))
                yield from below_items(schema[key])
        for field in schema.get("properties", {}).values():
            yield from below_items(field)

    assert list(below_items(schema_of(kind))) == []


def test_defaults_of_the_models_are_those_of_the_schema() -> None:
    for model in KINDS.values():
        spec = model.model_fields["spec"].annotation
        assert spec is not None
        for name, field in structural_schema(spec)["properties"].items():
            default = spec.model_fields[name].default
            assert field.get("default") == (default if isinstance(default, int | str | bool) else None)
