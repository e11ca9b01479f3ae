"""What an API server says of itself: versions, health, resources, and their schemas.

https://kubernetes.io/docs/concepts/overview/kubernetes-api/
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.waiting import described, eventually
from tests.harness.kube import Kube, Object

AGGREGATED = {
    "Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
}


def resources(kube: Kube, group_version: str) -> dict[str, Object]:
    return {one["name"]: one for one in kube.request("GET", group_version)["resources"]}


def test_the_version_is_told(kube: Kube) -> None:
    for path in ("/version", "/version/"):
        version = kube.request("GET", path)
        assert version["major"] == "1"
        assert int(version["minor"].rstrip("+")) >= 30
        assert version["gitVersion"].startswith(f"v1.{version['minor'].rstrip('+')}.")


def test_health_is_told(kube: Kube) -> None:
    for path in ("/healthz", "/livez", "/readyz"):
        assert kube.http.get(path).text == "ok"


def test_the_core_group_is_version_1(kube: Kube) -> None:
    versions = kube.request("GET", "/api")

    assert (versions["kind"], versions["versions"]) == ("APIVersions", ["v1"])


def test_groups_have_versions(kube: Kube) -> None:
    listing = kube.request("GET", "/apis")
    groups = {one["name"]: one for one in listing["groups"]}

    assert (listing["kind"], listing["apiVersion"]) == ("APIGroupList", "v1")
    assert groups["apps"]["preferredVersion"] == {"groupVersion": "apps/v1", "version": "v1"}
    for group in (
        "apiextensions.k8s.io",
        "coordination.k8s.io",
        "events.k8s.io",
        "rbac.authorization.k8s.io",
    ):
        assert {"groupVersion": f"{group}/v1", "version": "v1"} in groups[group]["versions"]
    assert kube.request("GET", "/apis/apps")["kind"] == "APIGroup"


@pytest.mark.parametrize(
    ("group_version", "resource", "expected"),
    [
        ("/api/v1", "pods", {"kind": "Pod", "namespaced": True, "singularName": "pod", "shortNames": ["po"]}),
        ("/api/v1", "services", {"kind": "Service", "namespaced": True, "shortNames": ["svc"]}),
        ("/api/v1", "namespaces", {"kind": "Namespace", "namespaced": False, "shortNames": ["ns"]}),
        ("/api/v1", "configmaps", {"kind": "ConfigMap", "namespaced": True, "shortNames": ["cm"]}),
        (
            "/apis/apps/v1",
            "deployments",
            {"kind": "Deployment", "namespaced": True, "shortNames": ["deploy"]},
        ),
        ("/apis/apps/v1", "deployments/scale", {"kind": "Scale", "group": "autoscaling", "version": "v1"}),
        ("/apis/coordination.k8s.io/v1", "leases", {"kind": "Lease", "namespaced": True}),
    ],
)
def test_resources_are_described(kube: Kube, group_version: str, resource: str, expected: Object) -> None:
    described = resources(kube, group_version)[resource]

    assert described == {**described, **expected}


def test_verbs_say_what_can_be_done(kube: Kube) -> None:
    core = resources(kube, "/api/v1")

    everything = {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}
    assert set(core["pods"]["verbs"]) == everything
    assert set(core["pods/log"]["verbs"]) == {"get"}
    assert set(core["pods/eviction"]["verbs"]) == {"create"}
    assert set(core["pods/status"]["verbs"]) == {"get", "patch", "update"}


def test_pods_belong_to_all(kube: Kube) -> None:
    assert resources(kube, "/api/v1")["pods"]["categories"] == ["all"]


def test_custom_resources_are_described(kube: Kube, gadgets: str) -> None:
    described = resources(kube, "/apis/conformance.example.com/v1")

    assert described["gadgets"]["shortNames"] == ["gad"]
    assert described["gadgets"]["categories"] == ["conformance"]
    assert described["gadgets/scale"] == {
        **described["gadgets/scale"],
        "kind": "Scale",
        "group": "autoscaling",
        "version": "v1",
    }


def test_all_is_told_in_one_answer(kube: Kube, gadgets: str) -> None:
    def groups(path: str) -> dict[str, Any]:
        listing = kube.request("GET", path, headers=AGGREGATED)
        assert listing["kind"] == "APIGroupDiscoveryList"
        return {item["metadata"].get("name", ""): item for item in listing["items"]}

    core = {one["resource"]: one for one in groups("/api")[""]["versions"][0]["resources"]}
    assert core["pods"]["responseKind"]["kind"] == "Pod"
    assert core["pods"]["scope"] == "Namespaced"
    assert "log" in [one["subresource"] for one in core["pods"]["subresources"]]
    found = eventually(lambda: groups("/apis"), until=lambda items: "conformance.example.com" in items)
    [version] = found["conformance.example.com"]["versions"]
    assert "gadgets" in [one["resource"] for one in version["resources"]]


def test_schemas_are_published_by_group(kube: Kube, gadgets: str) -> None:
    paths = described(kube, "conformance.example.com/v1")
    assert {"api/v1", "apis/apps/v1"} <= paths.keys()

    document = kube.request("GET", paths["apis/conformance.example.com/v1"]["serverRelativeURL"])
    schemas = {
        kind["kind"]: schema
        for schema in document["components"]["schemas"].values()
        for kind in schema.get("x-kubernetes-group-version-kind", [])
        if kind["group"] == "conformance.example.com"
    }
    size = schemas["Gadget"]["properties"]["spec"]["properties"]["size"]
    assert size["description"] == "How large the gadget is."
    operation = document["paths"]["/apis/conformance.example.com/v1/namespaces/{namespace}/gadgets"]["post"]
    assert operation["x-kubernetes-group-version-kind"]["kind"] == "Gadget"


def test_schemas_tell_of_lists_and_keys(kube: Kube) -> None:
    document = kube.request("GET", "/openapi/v3/api/v1")

    ports = document["components"]["schemas"]["io.k8s.api.core.v1.ServiceSpec"]["properties"]["ports"]
    assert ports["x-kubernetes-list-type"] == "map"
    assert ports["x-kubernetes-list-map-keys"] == ["port", "protocol"]
    assert ports["x-kubernetes-patch-merge-key"] == "port"


def test_patches_are_told_to_validate_fields(kube: Kube) -> None:
    """From this kubectl learns that the server validates fields."""
    document = kube.request("GET", "/openapi/v3/api/v1")

    patch = document["paths"]["/api/v1/namespaces/{namespace}/configmaps/{name}"]["patch"]
    assert "fieldValidation" in [one["name"] for one in patch["parameters"] if "name" in one]
    assert set(patch["requestBody"]["content"]) >= {
        "application/apply-patch+yaml",
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
    }


def test_there_is_a_service_for_the_api_server(kube: Kube) -> None:
    service = kube.get("services", "kubernetes", "default")

    assert service["spec"]["ports"][0]["name"] == "https"
    assert service["spec"]["ports"][0]["port"] == 443


def test_nodes_are_described(kube: Kube) -> None:
    nodes = kube.list("nodes")

    assert nodes
    for node in nodes:
        labels = node["metadata"]["labels"]
        assert {"kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch"} <= labels.keys()
        assert {"cpu", "memory", "pods"} <= node["status"]["allocatable"].keys()
        assert {"cpu", "memory", "pods"} <= node["status"]["capacity"].keys()
        assert "InternalIP" in [address["type"] for address in node["status"]["addresses"]]
        assert node["status"]["nodeInfo"]["kubeletVersion"].startswith("v1.")
    assert any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for node in nodes
        for condition in node["status"]["conditions"]
    )


def test_the_list_of_schemas_is_json_that_is_called_plain_text(kube: Kube) -> None:
    for headers in ({"Accept": "application/json"}, {}):
        answer = kube.http.get("/openapi/v3", headers=headers)
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert "api/v1" in answer.json()["paths"]
