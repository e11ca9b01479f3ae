"""Events, as controllers and operators write them.

https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conformance.manifests import config_map
from tests.harness.kube import Kube, Object, Refused


def event(about: Object, name: str, **fields: object) -> Object:
    metadata = about["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": metadata["namespace"]},
        "involvedObject": {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            **{key: metadata[key] for key in ("name", "namespace", "uid")},
        },
        "type": "Normal",
        "reason": "Tested",
        "message": "a test was here",
        "source": {"component": "tests"},
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:00Z",
        "count": 1,
        **fields,
    }


def test_an_event_is_found_by_what_it_is_about(
    kube: Kube, namespace: str, new_name: Callable[[], str]
) -> None:
    about = kube.create(config_map(new_name()), namespace)
    name = about["metadata"]["name"]
    kube.create(event(about, new_name()))
    kube.create(event(about, new_name(), type="Warning", reason="Failed"))

    def reasons(selector: str) -> list[str]:
        return sorted(one["reason"] for one in kube.list("events", namespace, fieldSelector=selector))

    assert reasons(f"involvedObject.name={name}") == ["Failed", "Tested"]
    assert reasons(f"involvedObject.name={name},type=Warning") == ["Failed"]
    assert reasons(f"involvedObject.uid={about['metadata']['uid']},reason=Tested") == ["Tested"]
    assert reasons(f"involvedObject.name={name},involvedObject.kind=Pod") == []


def test_an_event_is_counted_up(kube: Kube, namespace: str, new_name: Callable[[], str]) -> None:
    about = kube.create(config_map(new_name()), namespace)
    created = kube.create(event(about, new_name()))

    change = {"count": 2, "lastTimestamp": "2026-01-02T00:00:00Z"}
    kube.patch("events", created["metadata"]["name"], change, namespace)

    found = kube.get("events", created["metadata"]["name"], namespace)
    assert (found["count"], found["firstTimestamp"]) == (2, "2026-01-01T00:00:00Z")


def test_both_apis_show_the_same_events(kube: Kube, namespace: str, new_name: Callable[[], str]) -> None:
    about = kube.create(config_map(new_name()), namespace)
    name = kube.create(event(about, new_name()))["metadata"]["name"]

    found = kube.get("events.events.k8s.io", name, namespace)

    assert found["apiVersion"] == "events.k8s.io/v1"
    assert (found["note"], found["reason"]) == ("a test was here", "Tested")
    assert found["regarding"]["uid"] == about["metadata"]["uid"]


def test_an_event_lies_where_its_object_lies(kube: Kube, namespace: str, new_name: Callable[[], str]) -> None:
    about = kube.create(config_map(new_name()), namespace)
    manifest = event(about, new_name())
    manifest["metadata"]["namespace"] = "default"

    with pytest.raises(Refused) as refused:
        kube.create(manifest)

    assert (refused.value.code, refused.value.reason) == (422, "Invalid")


def test_names_of_events_are_generated(kube: Kube, namespace: str, new_name: Callable[[], str]) -> None:
    about = kube.create(config_map(new_name()), namespace)
    manifest = event(about, "", metadata={"generateName": "tests-", "namespace": namespace})

    assert kube.create(manifest)["metadata"]["name"].startswith("tests-")
