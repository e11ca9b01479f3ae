"""Strategic merge patches merge lists by their keys.

https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/
https://git.k8s.io/community/contributors/devel/sig-api-machinery/strategic-merge-patch.md
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.manifests import config_map, service
from tests.harness.kube import Kube, Object

DEPLOYMENTS = "deployments.apps"


@pytest.fixture
def deployment(kube: Kube, namespace: str, name: str) -> Object:
    """A deployment without pods, of two containers."""
    return kube.create(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {
                        "containers": [
                            {
                                "name": "one",
                                "image": "registry.invalid/one:1",
                                "command": ["a", "b"],
                                "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                                "ports": [{"containerPort": 80, "name": "http"}],
                            },
                            {"name": "two", "image": "registry.invalid/two:1"},
                        ],
                        "volumes": [{"name": "v", "emptyDir": {}}],
                        "tolerations": [{"key": "a", "operator": "Exists"}],
                    },
                },
            },
        },
        namespace,
    )


def patched_pod(kube: Kube, deployment: Object, spec: Object) -> Object:
    """Patch the template's pod spec strategically and return what comes out."""
    metadata = deployment["metadata"]
    patch = {"spec": {"template": {"spec": spec}}}
    patched = kube.patch(DEPLOYMENTS, metadata["name"], patch, metadata["namespace"], kind="strategic")
    return patched["spec"]["template"]["spec"]


def by(key: str, items: list[Object], value: str) -> dict[Any, Any]:
    return {item[key]: item.get(value) for item in items}


def test_containers_are_merged_by_name(kube: Kube, deployment: Object) -> None:
    pod = patched_pod(kube, deployment, {"containers": [{"name": "two", "image": "registry.invalid/two:2"}]})

    assert by("name", pod["containers"], "image") == {
        "one": "registry.invalid/one:1",
        "two": "registry.invalid/two:2",
    }


def test_a_container_of_a_new_name_is_added(kube: Kube, deployment: Object) -> None:
    pod = patched_pod(
        kube, deployment, {"containers": [{"name": "three", "image": "registry.invalid/three:1"}]}
    )

    assert {one["name"] for one in pod["containers"]} == {"one", "two", "three"}


def test_a_directive_deletes_an_item(kube: Kube, deployment: Object) -> None:
    pod = patched_pod(kube, deployment, {"containers": [{"name": "two", "$patch": "delete"}]})

    assert [one["name"] for one in pod["containers"]] == ["one"]


def test_a_directive_replaces_a_list(kube: Kube, deployment: Object) -> None:
    pod = patched_pod(
        kube,
        deployment,
        {"containers": [{"$patch": "replace"}, {"name": "new", "image": "registry.invalid/new:1"}]},
    )

    assert [one["name"] for one in pod["containers"]] == ["new"]


def test_a_directive_orders_a_list(kube: Kube, deployment: Object) -> None:
    order = [{"name": "two"}, {"name": "one"}]
    containers = [{"name": "two", "image": "registry.invalid/two:2"}]
    pod = patched_pod(kube, deployment, {"$setElementOrder/containers": order, "containers": containers})

    assert [one["name"] for one in pod["containers"]] == ["two", "one"]


def test_lists_inside_items_are_merged_too(kube: Kube, deployment: Object) -> None:
    change = {
        "name": "one",
        "env": [
            {"name": "B", "value": "two"},
            {"name": "C", "value": "3"},
            {"name": "A", "$patch": "delete"},
        ],
        "ports": [{"containerPort": 81}],
    }
    one = next(
        found
        for found in patched_pod(kube, deployment, {"containers": [change]})["containers"]
        if found["name"] == "one"
    )

    assert by("name", one["env"], "value") == {"B": "two", "C": "3"}
    assert by("containerPort", one["ports"], "name") == {80: "http", 81: None}


def test_lists_without_a_key_are_replaced(kube: Kube, deployment: Object) -> None:
    pod = patched_pod(
        kube,
        deployment,
        {
            "containers": [{"name": "one", "command": ["c"]}],
            "tolerations": [{"key": "b", "operator": "Exists"}],
        },
    )

    one = next(found for found in pod["containers"] if found["name"] == "one")
    assert one["command"] == ["c"]
    assert [found["key"] for found in pod["tolerations"]] == ["b"]


def test_only_retained_keys_stay(kube: Kube, deployment: Object) -> None:
    change = {"name": "v", "$retainKeys": ["name", "configMap"], "configMap": {"name": "some"}}
    [volume] = patched_pod(kube, deployment, {"volumes": [change]})["volumes"]

    assert volume == {"name": "v", "configMap": {"name": "some", "defaultMode": 420}}


def test_a_null_removes_a_field(kube: Kube, deployment: Object) -> None:
    pod = patched_pod(kube, deployment, {"tolerations": None, "volumes": None})

    assert not pod.keys() & {"tolerations", "volumes"}


def test_maps_are_merged(kube: Kube, namespace: str, name: str) -> None:
    kube.create(config_map(name, {"a": "1", "b": "2"}), namespace)

    patched = kube.patch("configmaps", name, {"data": {"a": None, "c": "3"}}, namespace, kind="strategic")

    assert patched["data"] == {"b": "2", "c": "3"}


def test_a_directive_replaces_a_map(kube: Kube, namespace: str, name: str) -> None:
    kube.create(config_map(name, {"a": "1", "b": "2"}), namespace)

    patched = kube.patch(
        "configmaps", name, {"data": {"$patch": "replace", "c": "3"}}, namespace, kind="strategic"
    )

    assert patched["data"] == {"c": "3"}


def test_ports_of_a_service_are_merged_by_number(kube: Kube, namespace: str, name: str) -> None:
    kube.create(service(name, {}, {"port": 80, "name": "http"}, {"port": 443, "name": "https"}), namespace)

    patch = {"spec": {"ports": [{"port": 443, "targetPort": 8443}]}}
    patched = kube.patch("services", name, patch, namespace, kind="strategic")

    assert by("port", patched["spec"]["ports"], "targetPort") == {80: 80, 443: 8443}
    assert by("port", patched["spec"]["ports"], "name") == {80: "http", 443: "https"}


def test_owners_are_merged_by_uid(kube: Kube, namespace: str, name: str) -> None:
    owners = [kube.create(config_map(f"{name}-{number}"), namespace) for number in range(2)]
    first, second = (
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": one["metadata"]["name"],
            "uid": one["metadata"]["uid"],
        }
        for one in owners
    )
    kube.create(config_map(name, ownerReferences=[first]), namespace)

    kube.patch("configmaps", name, {"metadata": {"ownerReferences": [second]}}, namespace, kind="strategic")
    removal = {"metadata": {"ownerReferences": [{"$patch": "delete", "uid": first["uid"]}]}}
    patched = kube.patch("configmaps", name, removal, namespace, kind="strategic")

    assert patched["metadata"]["ownerReferences"] == [second]
