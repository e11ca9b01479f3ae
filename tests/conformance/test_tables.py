"""Tables: what ``kubectl get`` prints is decided by the API server.

https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables
"""

from __future__ import annotations

import json
import re
from typing import Any

from tests.conformance.gadgets import gadget, plain
from tests.conformance.manifests import config_map, service, waiting_pod
from tests.harness.kube import Kube, Object

TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
AGE = re.compile(r"\d+[smhd]|<unknown>")


def table(kube: Kube, resource: str, namespace: str, name: str | None = None, **params: str) -> Object:
    found = kube.request("GET", kube.path(resource, namespace, name), headers=TABLE, params=params)
    assert (found["kind"], found["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    return found


def columns(found: Object, priority: int = 0) -> list[str]:
    return [one["name"] for one in found["columnDefinitions"] if one["priority"] <= priority]


def row(found: Object, name: str) -> dict[str, Any]:
    [cells] = [one["cells"] for one in found["rows"] if one["object"]["metadata"]["name"] == name]
    return dict(zip(columns(found, 1), cells, strict=True))


def test_a_definitions_columns_are_shown(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    kube.create(gadget(name, code="abc"), namespace)

    found = table(kube, gadgets, namespace)

    assert columns(found) == ["Name", "Size", "Desired", "Phase", "Age"]
    assert columns(found, 1) == ["Name", "Size", "Desired", "Phase", "Code", "Age"]
    cells = row(found, name)
    assert AGE.fullmatch(cells.pop("Age"))
    assert cells == {"Name": name, "Size": "M", "Desired": 1, "Phase": None, "Code": "abc"}


def test_a_column_has_type_and_description(kube: Kube, namespace: str, gadgets: str) -> None:
    found = {one["name"]: one for one in table(kube, gadgets, namespace)["columnDefinitions"]}

    assert found["Name"]["format"] == "name"
    assert (found["Size"]["type"], found["Size"]["description"]) == ("string", "How large it is")
    assert found["Desired"]["type"] == "integer"
    assert found["Age"]["type"] == "date"


def test_without_columns_the_age_is_shown(kube: Kube, namespace: str, plains: str, name: str) -> None:
    kube.create(plain(name), namespace)

    found = table(kube, plains, namespace)

    assert columns(found) == ["Name", "Age"]
    assert row(found, name)["Name"] == name


def test_one_object_is_a_table_of_one_row(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    created = kube.create(gadget(name), namespace)

    found = table(kube, gadgets, namespace, name)

    assert [one["cells"][0] for one in found["rows"]] == [name]
    assert found["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]


def test_rows_carry_metadata_the_object_or_nothing(
    kube: Kube, namespace: str, gadgets: str, name: str
) -> None:
    created = kube.create(gadget(name), namespace)

    [only] = table(kube, gadgets, namespace, name)["rows"]
    assert only["object"]["kind"] == "PartialObjectMetadata"
    assert only["object"]["metadata"]["uid"] == created["metadata"]["uid"]
    [only] = table(kube, gadgets, namespace, name, includeObject="Object")["rows"]
    assert only["object"] == created
    [only] = table(kube, gadgets, namespace, name, includeObject="None")["rows"]
    assert only.get("object") is None


def test_pods_have_the_columns_that_everybody_knows(kube: Kube, namespace: str, name: str) -> None:
    kube.create(waiting_pod(name), namespace)

    found = table(kube, "pods", namespace)

    assert columns(found) == ["Name", "Ready", "Status", "Restarts", "Age"]
    assert columns(found, 1)[5:] == ["IP", "Node", "Nominated Node", "Readiness Gates"]
    cells = row(found, name)
    assert (cells["Name"], cells["Ready"], cells["Status"]) == (name, "0/1", "Pending")
    assert str(cells["Restarts"]) == "0"
    assert cells["Node"] == "<none>"


def test_services_show_their_ports(kube: Kube, namespace: str, name: str) -> None:
    created = kube.create(service(name, {"app": name}, {"port": 80}), namespace)

    found = table(kube, "services", namespace)

    assert columns(found) == ["Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age"]
    cells = row(found, name)
    assert (cells["Type"], cells["External-IP"], cells["Port(s)"]) == ("ClusterIP", "<none>", "80/TCP")
    assert cells["Cluster-IP"] == created["spec"]["clusterIP"]
    assert cells["Selector"] == f"app={name}"


def test_config_maps_show_how_much_they_hold(kube: Kube, namespace: str, name: str) -> None:
    kube.create(config_map(name, {"a": "1", "b": "2"}), namespace)

    found = table(kube, "configmaps", namespace)

    assert columns(found) == ["Name", "Data", "Age"]
    assert row(found, name)["Data"] == 2


def test_deployments_show_how_far_they_are(kube: Kube, namespace: str) -> None:
    assert columns(table(kube, "deployments.apps", namespace)) == [
        "Name",
        "Ready",
        "Up-to-date",
        "Available",
        "Age",
    ]


def test_a_watch_sends_tables_and_the_columns_once(
    kube: Kube, namespace: str, gadgets: str, name: str
) -> None:
    since = kube.request("GET", kube.path(gadgets, namespace))["metadata"]["resourceVersion"]
    for number in range(2):
        kube.create(gadget(f"{name}-{number}"), namespace)

    params = {"watch": "true", "resourceVersion": since, "timeoutSeconds": "30"}
    with kube.http.stream("GET", kube.path(gadgets, namespace), headers=TABLE, params=params) as response:
        lines = response.iter_lines()
        first, second = (json.loads(next(lines)) for _ in range(2))

    assert [event["type"] for event in (first, second)] == ["ADDED", "ADDED"]
    assert [event["object"]["kind"] for event in (first, second)] == ["Table", "Table"]
    assert [event["object"]["rows"][0]["cells"][0] for event in (first, second)] == [f"{name}-0", f"{name}-1"]
    assert columns(first["object"])[0] == "Name"
    assert not second["object"].get("columnDefinitions")


def test_metadata_alone_can_be_asked_for(kube: Kube, namespace: str, name: str) -> None:
    created = kube.create(config_map(name, {"a": "1"}), namespace)
    one = {"Accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"}
    many = {"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}

    found = kube.request("GET", kube.path("configmaps", namespace, name), headers=one)
    assert (found["apiVersion"], found["kind"]) == ("meta.k8s.io/v1", "PartialObjectMetadata")
    assert found["metadata"] == created["metadata"]
    assert "data" not in found
    found = kube.request("GET", kube.path("configmaps", namespace), headers=many)
    assert found["kind"] == "PartialObjectMetadataList"
    assert name in [item["metadata"]["name"] for item in found["items"]]
