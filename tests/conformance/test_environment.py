"""The environment of a container.

https://kubernetes.io/docs/tasks/inject-data-application/define-environment-variable-container/
https://kubernetes.io/docs/concepts/workloads/pods/downward-api/
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conformance.manifests import config_map, secret, service
from tests.conformance.pods import Pods, python, shell, state
from tests.harness.kube import Kube, Object

PRINT = python("import json, os; print(json.dumps(dict(os.environ)))")


def environment(pods: Pods, *env: Object, metadata: Object | None = None, **fields: Any) -> dict[str, str]:
    """Run a container and return the environment that it found."""
    spec = fields.pop("spec", {})
    name = pods.run(PRINT, metadata=metadata, container={"env": list(env), **fields}, **spec)
    return json.loads(pods.output(name))


def from_field(path: str, name: str = "VALUE") -> Object:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def test_values_are_given(pods: Pods) -> None:
    found = environment(
        pods, {"name": "A", "value": "1"}, {"name": "B", "value": "two words = 2"}, {"name": "C"}
    )

    assert (found["A"], found["B"], found["C"]) == ("1", "two words = 2", "")


def test_values_may_use_earlier_ones(pods: Pods) -> None:
    found = environment(
        pods,
        {"name": "A", "value": "1"},
        {"name": "B", "value": "$(A)$(A) and $(C) and $$(A) and $A"},
        {"name": "C", "value": "later"},
    )

    assert found["B"] == "11 and $(C) and $(A) and $A"


def test_commands_and_arguments_may_use_them_too(pods: Pods) -> None:
    name = pods.run(
        ["sh", "-c", "echo $(A) $$(echo $1) $(NO)x", "sh"],
        container={"args": ["$(A)-$$(A)"], "env": [{"name": "A", "value": "1"}, {"name": "NO", "value": ""}]},
    )

    assert pods.output(name) == "1 1-$(A) x\n"


def test_the_last_of_two_values_counts(pods: Pods) -> None:
    assert environment(pods, {"name": "A", "value": "1"}, {"name": "A", "value": "2"})["A"] == "2"


def test_values_come_from_the_pods_own_fields(pods: Pods) -> None:
    found = environment(
        pods,
        from_field("metadata.name", "NAME"),
        from_field("metadata.namespace", "NAMESPACE"),
        from_field("metadata.uid", "UID"),
        from_field("metadata.labels['a']", "LABEL"),
        from_field("metadata.annotations['example.com/b']", "ANNOTATION"),
        from_field("spec.nodeName", "NODE"),
        from_field("spec.serviceAccountName", "ACCOUNT"),
        from_field("status.podIP", "POD_IP"),
        from_field("status.hostIP", "HOST_IP"),
        metadata={"labels": {"a": "label"}, "annotations": {"example.com/b": "annotation"}},
    )

    pod = pods.kube.get("pods", found["NAME"], pods.namespace)
    assert found["NAMESPACE"] == pods.namespace
    assert found["UID"] == pod["metadata"]["uid"]
    assert (found["LABEL"], found["ANNOTATION"]) == ("label", "annotation")
    assert found["NODE"] == pod["spec"]["nodeName"]
    assert found["ACCOUNT"] == "default"
    assert found["POD_IP"] == pod["status"]["podIP"]
    assert found["HOST_IP"] == pod["status"]["hostIP"]


def test_values_come_from_the_containers_resources(pods: Pods) -> None:
    def of(resource: str, divisor: str | None = None) -> Object:
        reference = {"resource": resource, **({"divisor": divisor} if divisor else {})}
        return {
            "name": resource.replace(".", "_") + (divisor or ""),
            "valueFrom": {"resourceFieldRef": reference},
        }

    found = environment(
        pods,
        of("limits.cpu"),
        of("requests.cpu", "1m"),
        of("limits.memory"),
        of("limits.memory", "1Mi"),
        resources={"limits": {"cpu": "1500m", "memory": "64Mi"}, "requests": {"cpu": "10m"}},
    )

    assert found["limits_cpu"] == "2"
    assert found["requests_cpu1m"] == "10"
    assert found["limits_memory"] == str(64 * 2**20)
    assert found["limits_memory1Mi"] == "64"


@pytest.mark.parametrize("kind", ["configMap", "secret"])
def test_values_come_from_config_maps_and_secrets(kube: Kube, pods: Pods, name: str, kind: str) -> None:
    make = {"configMap": config_map, "secret": secret}[kind]
    kube.create(make(name, {"key": "value", "other": "more"}), pods.namespace)

    reference = {f"{kind}KeyRef": {"name": name, "key": "key"}}
    missing = {f"{kind}KeyRef": {"name": "nothing", "key": "key", "optional": True}}
    found = environment(pods, {"name": "A", "valueFrom": reference}, {"name": "B", "valueFrom": missing})

    assert found["A"] == "value"
    assert "B" not in found


@pytest.mark.parametrize("kind", ["configMap", "secret"])
def test_all_values_come_from_config_maps_and_secrets(kube: Kube, pods: Pods, name: str, kind: str) -> None:
    make = {"configMap": config_map, "secret": secret}[kind]
    kube.create(make(name, {"A": "1", "B": "2"}), pods.namespace)

    found = environment(
        pods,
        {"name": "B", "value": "own"},
        envFrom=[
            {f"{kind}Ref": {"name": name}},
            {"prefix": "X_", f"{kind}Ref": {"name": name}},
            {f"{kind}Ref": {"name": "nothing", "optional": True}},
        ],
    )

    assert (found["A"], found["X_A"], found["X_B"]) == ("1", "1", "2")
    # What is given one by one beats what comes together.
    assert found["B"] == "own"


def test_a_container_waits_for_what_its_environment_needs(kube: Kube, pods: Pods, name: str) -> None:
    reference = {"configMapKeyRef": {"name": name, "key": "key"}}
    pod = pods.run(PRINT, container={"env": [{"name": "A", "valueFrom": reference}]})

    found = pods.wait(pod, lambda one: state(one, "waiting").get("reason") == "CreateContainerConfigError")
    assert f'configmap "{name}" not found' in state(found, "waiting")["message"]
    kube.create(config_map(name, {"key": "late"}), pods.namespace)
    assert json.loads(pods.output(pod))["A"] == "late"


def test_the_api_server_is_always_named(pods: Pods) -> None:
    found = environment(pods, spec={"enableServiceLinks": False})

    assert found["KUBERNETES_SERVICE_HOST"]
    assert int(found["KUBERNETES_SERVICE_PORT"]) > 0


def test_services_are_named_unless_unwanted(kube: Kube, pods: Pods, name: str) -> None:
    created = kube.create(service(name, {"of": "nothing"}, {"port": 1234, "name": "web"}), pods.namespace)
    prefix = name.upper()

    found = environment(pods)
    assert found[f"{prefix}_SERVICE_HOST"] == created["spec"]["clusterIP"]
    assert found[f"{prefix}_SERVICE_PORT"] == "1234"
    assert found[f"{prefix}_SERVICE_PORT_WEB"] == "1234"
    found = environment(pods, spec={"enableServiceLinks": False})
    assert f"{prefix}_SERVICE_HOST" not in found


def test_the_environment_of_this_machine_stays_outside(pods: Pods, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONFORMANCE_SECRET", "of this process")

    assert "CONFORMANCE_SECRET" not in environment(pods)
    assert "KUBECONFIG" not in environment(pods)


def test_a_shell_sees_it_as_well(pods: Pods) -> None:
    name = pods.run(shell('echo "$A"'), container={"env": [{"name": "A", "value": "1"}]})

    assert pods.output(name) == "1\n"
