"""A container's variables, command and arguments are those that Kubernetes would give it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from dask_k8s_local.interfaces import Object
from dask_k8s_local.node.pods.environment import argv, expand, service_environment
from tests.local.node.kit import Cluster, a_pod, a_service, container, is_over, is_ready, state

SHOW = ("python", "-c", "import os, json; print(json.dumps(dict(os.environ)))")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(NAME)", "value"),
        ("a$(NAME)b$(NAME)", "avaluebvalue"),
        ("$$(NAME)", "$(NAME)"),
        ("$$$(NAME)", "$value"),
        ("$$$$", "$$"),
        ("$(MISSING)", "$(MISSING)"),
        ("$NAME ${NAME} $", "$NAME ${NAME} $"),
        ("$(NAME", "$(NAME"),
        ("$()", "$()"),
    ],
)
def test_references_are_expanded_as_kubernetes_does(text: str, expected: str) -> None:
    assert expand(text, {"NAME": "value"}) == expected


def test_command_and_args_are_joined_and_expanded() -> None:
    described = {"command": ["run", "$(A)"], "args": ["--x=$(B)"]}
    assert argv(described, {"A": "1", "B": "2"}) == ["run", "1", "--x=2"]
    assert argv({"args": ["dask", "worker"]}, {}) == ["dask", "worker"]
    assert argv({}, {}) == []


def test_services_have_variables_if_links_are_wanted() -> None:
    ports = [{"name": "tcp-comm", "port": 8786, "protocol": "TCP"}, {"name": "http", "port": 80}]
    service = {"metadata": {"name": "my-svc"}, "spec": {"clusterIP": "10.96.0.7", "ports": ports}}
    headless = {"metadata": {"name": "headless"}, "spec": {"clusterIP": "None", "ports": ports}}
    linked = service_environment("https://127.0.0.1:6443", [service, headless], wants_links=True)
    assert linked["MY_SVC_SERVICE_HOST"] == "10.96.0.7"
    assert linked["MY_SVC_SERVICE_PORT"] == "8786"
    assert linked["MY_SVC_SERVICE_PORT_TCP_COMM"] == "8786"
    assert linked["MY_SVC_SERVICE_PORT_HTTP"] == "80"
    assert linked["MY_SVC_PORT"] == "tcp://10.96.0.7:8786"
    assert linked["MY_SVC_PORT_80_TCP_ADDR"] == "10.96.0.7"
    assert not any(name.startswith("HEADLESS") for name in linked)
    unlinked = service_environment("https://127.0.0.1:6443", [service], wants_links=False)
    assert unlinked["KUBERNETES_SERVICE_HOST"] == "127.0.0.1"
    assert unlinked["KUBERNETES_SERVICE_PORT"] == "6443"
    assert unlinked.keys() < linked.keys()


async def environment(cluster: Cluster, **fields: Any) -> dict[str, str]:
    shown: dict[str, str] = json.loads(await cluster.run(*SHOW, **fields))
    return shown


async def test_values_refer_to_those_before_them(cluster: Cluster) -> None:
    await cluster.add_node()
    env = [
        {"name": "A", "value": "1"},
        {"name": "B", "value": "$(A)$(C)"},
        {"name": "C", "value": "$(KUBERNETES_SERVICE_HOST)"},
        {"name": "EMPTY"},
    ]
    seen = await environment(cluster, env=env)
    assert (seen["A"], seen["B"], seen["C"], seen["EMPTY"]) == ("1", "1$(C)", "127.0.0.1", "")


async def test_the_downward_api_tells_about_pod_and_container(cluster: Cluster) -> None:
    await cluster.add_node()

    def field(path: str) -> Object:
        return {"fieldRef": {"fieldPath": path}}

    def resource(name: str, **more: str) -> Object:
        return {"resourceFieldRef": {"resource": name, **more}}

    sources = {
        "NAME": field("metadata.name"),
        "NAMESPACE": field("metadata.namespace"),
        "UID": field("metadata.uid"),
        "APP": field("metadata.labels['app']"),
        "NODE": field("spec.nodeName"),
        "IP": field("status.podIP"),
        "HOST_IP": field("status.hostIP"),
        "CPU": resource("limits.cpu"),
        "MEMORY": resource("requests.memory", divisor="1Mi"),
        "NODE_MEMORY": resource("limits.memory"),
    }
    env = [{"name": name, "valueFrom": source} for name, source in sources.items()]
    resources = {"limits": {"cpu": "500m"}, "requests": {"memory": "1Gi"}}
    await cluster.create(a_pod("one", container(*SHOW, env=env, resources=resources), restartPolicy="Never"))
    pod = await cluster.until("one", is_over)
    seen = json.loads(await cluster.log("one"))
    assert seen["NAME"] == "one"
    assert seen["NAMESPACE"] == "default"
    assert seen["UID"] == pod["metadata"]["uid"]
    assert seen["APP"] == "one"
    assert seen["NODE"] == "local"
    assert seen["IP"] == pod["status"]["podIP"]
    assert seen["HOST_IP"] == pod["status"]["hostIP"]
    assert seen["CPU"] == "1"
    assert seen["MEMORY"] == "1024"
    assert int(seen["NODE_MEMORY"]) > 2**28


async def test_config_maps_and_secrets_become_variables(cluster: Cluster) -> None:
    await cluster.add_node()
    await cluster.create(
        {"kind": "ConfigMap", "metadata": {"name": "config"}, "data": {"K": "v", "FROM": "map"}}
    )
    password = base64.b64encode(b"hidden").decode()
    await cluster.create({"kind": "Secret", "metadata": {"name": "secret"}, "data": {"password": password}})
    env = [
        {"name": "ONE", "valueFrom": {"configMapKeyRef": {"name": "config", "key": "K"}}},
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "secret", "key": "password"}}},
        {"name": "FROM", "value": "env of $(PRE_K)"},
        {"name": "NO", "valueFrom": {"configMapKeyRef": {"name": "no", "key": "K", "optional": True}}},
    ]
    env_from = [
        {"configMapRef": {"name": "config"}},
        {"prefix": "PRE_", "configMapRef": {"name": "config"}},
        {"secretRef": {"name": "missing", "optional": True}},
    ]
    seen = await environment(cluster, env=env, envFrom=env_from)
    assert seen["ONE"] == "v"
    assert seen["PASSWORD"] == "hidden"
    assert seen["FROM"] == "env of v"
    assert seen["PRE_FROM"] == "map"
    assert "NO" not in seen


async def test_a_missing_config_map_is_waited_for(cluster: Cluster) -> None:
    await cluster.add_node()
    env = [{"name": "ONE", "valueFrom": {"configMapKeyRef": {"name": "later", "key": "K"}}}]
    await cluster.create(a_pod("one", container("sleep", "100", env=env)))
    pod = await cluster.until("one", lambda pod: state(pod).get("waiting", {}).get("message"))
    assert state(pod)["waiting"] == {
        "reason": "CreateContainerConfigError",
        "message": 'configmap "later" not found',
    }
    assert ("Failed", 'Error: configmap "later" not found') in await cluster.events("one")
    await cluster.create({"kind": "ConfigMap", "metadata": {"name": "later"}, "data": {"K": "v"}})
    await cluster.until("one", is_ready)


async def test_nothing_of_this_process_leaks_into_a_container(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", "/somewhere")
    monkeypatch.setenv("DASK_TEMPORARY_DIRECTORY", "/somewhere")
    await cluster.add_node()
    seen = await environment(cluster, env=[{"name": "PYTHONPATH", "value": "/own"}])
    assert "KUBECONFIG" not in seen
    assert "DASK_TEMPORARY_DIRECTORY" not in seen
    assert seen["PYTHONPATH"].endswith(":/own")


async def test_links_to_services_are_given_unless_unwanted(cluster: Cluster) -> None:
    await cluster.add_node()
    await cluster.create(a_service("some", {"app": "x"}, {"port": 80}))
    await cluster.create(a_pod("linked", container(*SHOW), restartPolicy="Never"))
    await cluster.create(a_pod("unlinked", container(*SHOW), restartPolicy="Never", enableServiceLinks=False))
    for name, expected in (("linked", True), ("unlinked", False)):
        await cluster.until(name, is_over)
        assert ("SOME_SERVICE_HOST" in json.loads(await cluster.log(name))) is expected
