"""Builders give what a user would write by hand."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

import dask_k8s_models as models
from dask_k8s_models import (
    build_autoscaler_spec,
    build_cluster_spec,
    build_job_spec,
    build_scheduler_spec,
    build_worker_group_spec,
    build_worker_spec,
    env_list,
    make_autoscaler_spec,
    make_cluster_spec,
    make_job_spec,
    make_scheduler_spec,
    make_worker_group_spec,
    make_worker_spec,
)

EXAMPLES = Path(__file__).parents[3] / "examples"


def scheduler_container(cluster: dict[str, Any]) -> dict[str, Any]:
    [container] = cluster["spec"]["scheduler"]["spec"]["containers"]
    assert isinstance(container, dict)
    return container


def worker_container(cluster: dict[str, Any]) -> dict[str, Any]:
    [container] = cluster["spec"]["worker"]["spec"]["containers"]
    assert isinstance(container, dict)
    return container


def test_a_cluster_needs_no_more_than_a_name() -> None:
    cluster = build_cluster_spec("simple")
    assert cluster.name == "simple"
    assert cluster.spec.worker.replicas == 1
    assert cluster.spec.idle_timeout() == 0


def test_parameters_and_defaults_are_those_of_the_documentation() -> None:
    parameters = inspect.signature(make_cluster_spec).parameters
    assert list(parameters)[:9] == [
        "name",
        "image",
        "n_workers",
        "resources",
        "env",
        "worker_command",
        "scheduler_service_type",
        "idle_timeout",
        "jupyter",
    ]
    assert parameters["image"].default == "ghcr.io/dask/dask:latest"
    assert parameters["n_workers"].default is None
    assert parameters["worker_command"].default == "dask worker"
    assert parameters["scheduler_service_type"].default == "ClusterIP"
    assert parameters["idle_timeout"].default == 0
    assert inspect.signature(make_worker_spec).parameters["n_workers"].default == 3


def test_cluster_is_made_of_its_parts() -> None:
    cluster = make_cluster_spec("foo", n_workers=2, env={"FOO": "bar"}, jupyter=True)
    assert cluster["spec"]["worker"] == make_worker_spec(n_workers=2, env={"FOO": "bar"})
    assert cluster["spec"]["scheduler"] == make_scheduler_spec("foo", env={"FOO": "bar"}, jupyter=True)


def test_worker_command_ends_with_name_and_dashboard() -> None:
    tail = ["--name", "$(DASK_WORKER_NAME)", "--dashboard", "--dashboard-address", "8788"]
    assert worker_container(make_cluster_spec("a"))["args"] == ["dask", "worker", *tail]
    for command in (
        "dask cuda worker --resources 'GPU=1 A=2'",
        ["dask", "cuda", "worker", "--resources", "GPU=1 A=2"],
    ):
        container = worker_container(make_cluster_spec("a", worker_command=command))
        assert container["args"] == ["dask", "cuda", "worker", "--resources", "GPU=1 A=2", *tail]


def test_older_images_can_be_served() -> None:
    container = worker_container(make_cluster_spec("a", worker_command="dask-worker"))
    assert container["args"][0] == "dask-worker"


def test_jupyter_runs_beside_the_scheduler() -> None:
    assert scheduler_container(make_cluster_spec("a", jupyter=True))["args"] == [
        "dask",
        "scheduler",
        "--jupyter",
    ]


@pytest.mark.parametrize(
    ("tls", "spec"),
    [(True, {}), (False, {"enabled": False}), ({"secretName": "mine"}, {"secretName": "mine"})],
)
def test_tls_is_one_word(tls: Any, spec: Any) -> None:
    assert make_cluster_spec("a", tls=tls)["spec"]["tls"] == spec
    assert make_job_spec("a", "true", tls=tls)["spec"]["cluster"]["spec"]["tls"] == spec


def test_without_a_word_about_it_tls_is_the_controllers_choice() -> None:
    assert "tls" not in make_cluster_spec("a")["spec"]


@pytest.mark.parametrize("wrong", ["yes", 1])
def test_a_tls_that_is_neither_bool_nor_dict_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="tls must be True, False or a dict"):
        make_cluster_spec("a", tls=wrong)
    with pytest.raises(TypeError, match="network_policy must be True, False or a dict"):
        make_cluster_spec("a", network_policy=wrong)


def test_a_network_policy_is_one_word() -> None:
    assert make_cluster_spec("a", network_policy=True)["spec"]["networkPolicy"] == {}
    peers = {"peers": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]}
    made = build_cluster_spec("a", network_policy=peers)
    assert made.to_dict()["spec"]["networkPolicy"] == peers


def test_env_is_a_dict_or_a_list() -> None:
    variables = [{"name": "A", "value": "1"}]
    assert env_list({"A": 1}) == variables
    assert env_list(variables) == variables
    assert env_list(None) == []
    with pytest.raises(TypeError, match="env must be"):
        env_list("A=1")
    with pytest.raises(TypeError, match=r"env\['A'\]"):
        env_list({"A": None})


def test_env_and_resources_are_there_to_be_changed() -> None:
    cluster = make_cluster_spec("a", env={"A": "1"}, resources={"limits": {"cpu": 1}})
    worker_container(cluster)["env"].append({"name": "B", "value": "2"})
    worker_container(cluster)["resources"]["limits"]["memory"] = "2Gi"
    assert scheduler_container(cluster)["env"] == [{"name": "A", "value": "1"}]
    assert scheduler_container(cluster)["resources"] == {"limits": {"cpu": 1}}


def test_scheduler_and_workers_may_differ() -> None:
    cluster = make_cluster_spec(
        "a",
        resources={"limits": {"cpu": 1}},
        worker_resources={"limits": {"nvidia.com/gpu": 1}},
        scheduler_env={"A": "1"},
        worker_image="gpu",
    )
    assert scheduler_container(cluster)["resources"] == {"limits": {"cpu": 1}}
    assert worker_container(cluster)["resources"] == {"limits": {"nvidia.com/gpu": 1}}
    assert scheduler_container(cluster)["env"] == [{"name": "A", "value": "1"}]
    assert worker_container(cluster)["env"] == []
    assert (scheduler_container(cluster)["image"], worker_container(cluster)["image"]) == (
        "ghcr.io/dask/dask:latest",
        "gpu",
    )


@pytest.mark.parametrize(
    ("resources", "error", "message"),
    [
        ({"limit": {}}, ValueError, "limit"),
        ("2Gi", TypeError, "must be a dict"),
        ({"limits": "2Gi"}, TypeError, "limits"),
    ],
)
def test_wrong_resources_are_refused(resources: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make_cluster_spec("a", resources=resources)


def test_service_leads_to_the_scheduler() -> None:
    service = make_cluster_spec("a", scheduler_service_type="LoadBalancer")["spec"]["scheduler"]["service"]
    assert service["type"] == "LoadBalancer"
    assert service["selector"] == {"dask.org/cluster-name": "a", "dask.org/component": "scheduler"}
    assert [port["port"] for port in service["ports"]] == [8786, 8787]


def test_workers_are_never_killed_for_being_busy() -> None:
    cluster = make_cluster_spec("a")
    assert "livenessProbe" not in worker_container(cluster)
    assert scheduler_container(cluster)["livenessProbe"]["timeoutSeconds"] >= 30


def test_node_selector_of_the_documentation() -> None:
    spec = make_cluster_spec(name="selector-example", n_workers=2)
    spec["spec"]["worker"]["spec"]["nodeSelector"] = {"disktype": "ssd"}
    assert models.DaskCluster.model_validate(spec).spec.worker.spec.nodeSelector == {"disktype": "ssd"}


def test_jupyter_of_the_documentation() -> None:
    spec = make_cluster_spec(name="jupyter-example", n_workers=2, env={"EXTRA_PIP_PACKAGES": "jupyterlab"})
    spec["spec"]["scheduler"]["spec"]["containers"][0]["args"].append("--jupyter")
    assert spec == make_cluster_spec(
        name="jupyter-example", n_workers=2, env={"EXTRA_PIP_PACKAGES": "jupyterlab"}, jupyter=True
    )


def test_pull_secrets_of_the_documentation() -> None:
    spec = make_cluster_spec(name="custom", image="foo.com/jacobtomlinson/dask:latest")
    spec["spec"]["worker"]["spec"]["imagePullSecrets"] = [{"name": "regcred"}]
    spec["spec"]["scheduler"]["spec"]["imagePullSecrets"] = [{"name": "regcred"}]
    cluster = models.DaskCluster.model_validate(spec)
    for pod in (cluster.spec.worker.spec, cluster.spec.scheduler.spec):
        assert pod.imagePullSecrets is not None
        assert [secret.name for secret in pod.imagePullSecrets] == ["regcred"]
    assert cluster.to_dict() == spec


def test_worker_spec_of_the_documentation() -> None:
    worker_spec = make_worker_spec(
        cluster_name="example", n_workers=2, resources={"limits": {"nvidia.com/gpu": 1}}
    )
    worker_spec["spec"]["nodeSelector"] = {"cloud.google.com/gke-nodepool": "gpu-node-pool"}
    group = models.DaskWorkerGroup.model_validate(
        make_worker_group_spec("example", "gpu", custom_spec=worker_spec)
    )
    assert group.name == "example-gpu"
    assert group.spec.worker.replicas == 2
    assert group.spec.worker.spec.containers[0].resources is not None
    assert group.spec.worker.spec.containers[0].resources.limits == {"nvidia.com/gpu": 1}


def test_a_classic_pod_spec_fits_into_a_cluster() -> None:
    pod = yaml.safe_load((EXAMPLES / "worker-spec.yaml").read_text())
    cluster_spec = make_cluster_spec(name="merge-example")
    cluster_spec["spec"]["worker"]["spec"] = pod["spec"]
    cluster = models.DaskCluster.model_validate(cluster_spec)
    assert cluster.to_dict()["spec"]["worker"]["spec"] == pod["spec"]


def test_a_job_makes_its_cluster_or_uses_one() -> None:
    made = make_job_spec(
        "report", "python report.py", n_workers=2, scheduler_resources={"limits": {"cpu": 1}}
    )
    assert made["spec"]["cluster"]["spec"]["worker"]["replicas"] == 2
    assert made["spec"]["job"]["spec"]["containers"][0]["args"] == ["python", "report.py"]
    used = make_job_spec("report", ["python", "report.py"], cluster_name="simple", backoff_limit=2)
    assert used["spec"]["clusterRef"] == {"name": "simple"}
    assert "cluster" not in used["spec"]
    assert used["spec"]["backoffLimit"] == 2


def test_an_autoscaler_has_bounds_that_may_be_left_out() -> None:
    assert make_autoscaler_spec("simple", 1, 10)["spec"] == {"cluster": "simple", "minimum": 1, "maximum": 10}
    assert make_autoscaler_spec("simple")["spec"] == {"cluster": "simple", "minimum": 0}
    scaler = build_autoscaler_spec("simple", worker_group="highmem")
    assert (scaler.name, scaler.spec.worker_group()) == ("simple-highmem", "simple-highmem")
    assert build_autoscaler_spec("simple").spec.worker_group() == "simple-default"


def test_typed_twins_give_the_same_and_check_it() -> None:
    assert build_cluster_spec("a", n_workers=1).to_dict() == make_cluster_spec("a", n_workers=1)
    assert build_worker_group_spec("a", "b").to_dict() == make_worker_group_spec("a", "b")
    assert build_job_spec("a", "b").to_dict() == make_job_spec("a", "b")
    assert build_worker_spec(n_workers=4).replicas == 4
    assert build_scheduler_spec("a").service is not None
    with pytest.raises(ValidationError, match=r"metadata\.name"):
        build_cluster_spec("a" * 54)
    with pytest.raises(ValidationError, match="maximum"):
        build_autoscaler_spec("simple", 10, 2)


@pytest.mark.parametrize("field", ["limits", "requests"])
def test_resources_in_another_case_are_refused_before_anything_is_sent(field: str) -> None:
    with pytest.raises(ValueError, match=r"has 'CPU': did you mean 'cpu'\?"):
        make_cluster_spec("a", resources={field: {"CPU": "1"}})


def test_ports_and_probes_follow_the_schedulers_options() -> None:
    command = "dask scheduler --dashboard-prefix /me --port 9000 --dashboard-address :9001"

    made = models.make_scheduler_spec("a", scheduler_command=command)

    [container] = made["spec"]["containers"]
    assert [port["containerPort"] for port in container["ports"]] == [9000, 9001]
    for probe in ("readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"port": "http-dashboard", "path": "/me/health"}
    assert [port["port"] for port in made["service"]["ports"]] == [8786, 8787]
