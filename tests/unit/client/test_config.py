"""The options of a cluster: parameters, ``dask.config``, names, manifests."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import dask.config
import pytest

from dask_k8s_client.config import ClusterOptions, CreateMode, cluster_manifest, cluster_name
from dask_k8s_client.create import manifest
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


SPEC = make_cluster_spec("configured", namespace="over-there")
SET = {
    "name": ("team-a", "name", "team-a"),
    "namespace": ("over-there", "namespace", "over-there"),
    "image": ("mine", "image", "mine"),
    "count.start": (5, "n_workers", 5),
    "resources": ({"limits": {"cpu": 1}}, "resources", {"limits": {"cpu": 1}}),
    "env": ({"A": "1"}, "env", {"A": "1"}),
    "worker-command": ("dask cuda worker", "worker_command", "dask cuda worker"),
    "port-forward-cluster-ip": (True, "port_forward_cluster_ip", True),
    "create-mode": ("connect_only", "create_mode", CreateMode.CONNECT_ONLY),
    "shutdown-on-close": (False, "shutdown_on_close", False),
    "idle-timeout": (600, "idle_timeout", 600),
    "resource-timeout": ("2 minutes", "resource_timeout", 120),
    "scheduler-service-type": ("loadbalancer", "scheduler_service_type", "LoadBalancer"),
    "custom-cluster-spec": (SPEC, "custom_cluster_spec", SPEC),
    "scheduler-forward-port": ("8787", "scheduler_forward_port", 8787),
    "scheduler-jupyter": (True, "jupyter", True),
    "tls": ({"secretName": "mine"}, "tls", {"secretName": "mine"}),
}
"""What is set in ``dask.config``, the option that it is about, and its value."""


def test_every_option_can_be_configured() -> None:
    assert {option for _, option, _ in SET.values()} == {field.name for field in fields(ClusterOptions)}


@pytest.mark.parametrize("key", SET)
def test_config_changes_the_defaults(key: str) -> None:
    value, option, expected = SET[key]
    with dask.config.set({f"kubernetes.{key}": value}):
        assert getattr(ClusterOptions.from_config(), option) == expected


@pytest.mark.parametrize("key", SET)
def test_so_does_the_environment(key: str) -> None:
    value, option, expected = SET[key]
    variable = f"DASK_KUBERNETES__{key.replace('.', '__').replace('-', '_').upper()}"
    merged = dask.config.merge(dask.config.config, dask.config.collect_env({variable: str(value)}))
    with dask.config.set({"kubernetes": merged["kubernetes"]}):
        assert getattr(ClusterOptions.from_config(), option) == expected


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


@pytest.mark.parametrize("mode", CreateMode)
def test_who_names_a_cluster_gets_no_other_that_is_configured(mode: CreateMode) -> None:
    configured = {"kubernetes.custom-cluster-spec": SPEC, "kubernetes.name": "configured-too"}
    with dask.config.set(configured):
        options = ClusterOptions.from_config(name="mine", create_mode=mode)
    assert options.name == "mine"
    if mode is CreateMode.CONNECT_ONLY:
        assert (options.namespace, options.custom_cluster_spec) == (None, None)
    else:
        assert manifest(options)["metadata"]["name"] == "mine"
        assert options.namespace == "over-there"


def test_connecting_reads_no_manifest_of_the_configuration() -> None:
    with dask.config.set({"kubernetes.custom-cluster-spec": "/nowhere.yaml"}):
        assert ClusterOptions.from_config(name="mine", create_mode="CONNECT_ONLY").name == "mine"


def test_a_template_as_name_of_a_custom_spec_is_filled_in() -> None:
    options = ClusterOptions.from_config(custom_cluster_spec=make_cluster_spec("a-{uuid}"))
    assert manifest(options)["metadata"]["name"].startswith("a-")


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
