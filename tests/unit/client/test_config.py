"""The options of a cluster: parameters, ``dask.config``, names, manifests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.config
import pytest

from dask_k8s_client.config import ClusterOptions, CreateMode, cluster_manifest, cluster_name
from dask_k8s_client.errors import ValidationError
from dask_k8s_models import make_cluster_spec, names


def test_defaults_are_those_of_the_shipped_file() -> None:
    options = ClusterOptions.from_config(name="foo")
    assert options.image == "ghcr.io/dask/dask:latest"
    assert options.n_workers == 0
    assert options.worker_command == "dask worker"
    assert options.create_mode is CreateMode.CREATE_OR_CONNECT
    assert options.resource_timeout == 60
    assert options.shutdown_on_close is None
    assert options.scheduler_service_type == "ClusterIP"
    assert options.idle_timeout == 0
    assert not options.jupyter


@pytest.mark.parametrize(
    ("key", "value", "field", "expected"),
    [
        ("image", "mine", "image", "mine"),
        ("count.start", 5, "n_workers", 5),
        ("env", {"A": "1"}, "env", {"A": "1"}),
        ("create-mode", "connect_only", "create_mode", CreateMode.CONNECT_ONLY),
        ("resource-timeout", "2 minutes", "resource_timeout", 120),
        ("scheduler-jupyter", True, "jupyter", True),
        ("scheduler-forward-port", "8787", "scheduler_forward_port", 8787),
        ("port-forward-cluster-ip", True, "port_forward_cluster_ip", True),
    ],
)
def test_config_changes_the_defaults(key: str, value: Any, field: str, expected: Any) -> None:
    with dask.config.set({f"kubernetes.{key}": value}):
        assert getattr(ClusterOptions.from_config(name="foo"), field) == expected


def test_a_parameter_beats_the_config() -> None:
    with dask.config.set({"kubernetes.image": "theirs", "kubernetes.scheduler-jupyter": True}):
        options = ClusterOptions.from_config(name="foo", image="mine", jupyter=False)
    assert options.image == "mine"
    assert options.jupyter is False


def test_the_default_name_is_valid_whatever_the_user_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "Jörg.Müller_" + "x" * 60)
    assert names.problem_with_cluster_name(cluster_name("dask-{user}-{uuid}")) is None


def test_two_default_names_differ() -> None:
    assert cluster_name("dask-{user}-{uuid}") != cluster_name("dask-{user}-{uuid}")


def test_environment_variables_are_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAM", "Blue Team")
    assert cluster_name("dask-{TEAM}") == "dask-blue-team"


def test_an_unknown_field_of_the_template_is_named() -> None:
    with pytest.raises(ValidationError, match="NO_SUCH_THING"):
        cluster_name("dask-{NO_SUCH_THING}")


@pytest.mark.parametrize("name", ["Foo", "foo.bar", "foo_bar", "-foo", "foo-", "1foo", "", "f" * 54])
def test_a_bad_literal_name_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        cluster_name(name)


@pytest.mark.parametrize(
    ("resources", "error"),
    [
        ({"limit": {}}, ValueError),
        ("2Gi", TypeError),
        ({"limits": "2Gi"}, TypeError),
    ],
)
def test_bad_resources_are_refused(resources: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        ClusterOptions.from_config(name="foo", resources=resources)


def test_a_custom_spec_names_the_cluster_and_its_namespace() -> None:
    spec = make_cluster_spec(name="theirs", namespace="over-there")
    options = ClusterOptions.from_config(name="mine", custom_cluster_spec=spec)
    assert (options.name, options.namespace) == ("theirs", "over-there")


def test_a_custom_spec_is_copied() -> None:
    spec = make_cluster_spec(name="theirs")
    options = ClusterOptions.from_config(custom_cluster_spec=spec)
    assert options.custom_cluster_spec == spec
    assert options.custom_cluster_spec is not spec


def test_a_manifest_may_hold_other_objects(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text("kind: Namespace\nmetadata: {name: a}\n---\nkind: DaskCluster\nmetadata: {name: foo}\n")
    found = cluster_manifest(path)
    assert found is not None
    assert found["metadata"]["name"] == "foo"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: Pod\nmetadata: {name: foo}", "kind DaskCluster"),
        ("kind: DaskCluster", "metadata.name"),
        ("kind: [", "cluster.yaml"),
    ],
)
def test_what_is_no_cluster_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(text)
    with pytest.raises(ValidationError, match=message):
        cluster_manifest(path)
