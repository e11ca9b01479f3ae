"""A watch continues where a list ended: no event is lost, none comes twice, each in the order of its version.

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import pytest

from tests.conformance.gadgets import gadget
from tests.conformance.manifests import causes, config_map
from tests.conformance.watching import Watch, shown
from tests.harness.kube import Kube, Object, Refused

INITIAL_EVENTS = {
    "sendInitialEvents": "true",
    "resourceVersionMatch": "NotOlderThan",
    "allowWatchBookmarks": "true",
    "resourceVersion": "",
}


def version_of(kube: Kube, resource: str, namespace: str) -> str:
    return kube.request("GET", kube.path(resource, namespace))["metadata"]["resourceVersion"]


def is_end_of_initial_events(found: Object) -> bool:
    return found["metadata"].get("annotations", {}).get("k8s.io/initial-events-end") == "true"


def test_a_watch_tells_of_every_change_since_a_list(kube: Kube, namespace: str, name: str) -> None:
    since = version_of(kube, "configmaps", namespace)
    kube.create(config_map(name, {"a": "0"}), namespace)
    kube.patch("configmaps", name, {"data": {"a": "1"}}, namespace)
    kube.patch("configmaps", name, {"data": {"a": "2"}}, namespace)
    kube.delete("configmaps", name, namespace)

    with Watch(kube, "configmaps", namespace, resourceVersion=since) as watch:
        events = watch.until_seen("DELETED", name)

    assert shown(events) == [("ADDED", name), ("MODIFIED", name), ("MODIFIED", name), ("DELETED", name)]
    assert [found["data"]["a"] for _, found in events] == ["0", "1", "2", "2"]
    versions = [int(found["metadata"]["resourceVersion"]) for _, found in events]
    assert versions == sorted(set(versions))
    assert versions[0] > int(since)


def test_events_come_while_the_watch_is_open(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    with Watch(kube, gadgets, namespace, resourceVersion=version_of(kube, gadgets, namespace)) as watch:
        kube.create(gadget(name), namespace)
        watch.until_seen("ADDED", name)
        kube.patch(gadgets, name, {"status": {"phase": "Ready"}}, namespace, subresource="status")
        watch.until_seen("MODIFIED", name)
        kube.delete(gadgets, name, namespace)
        events = watch.until_seen("DELETED", name)

    assert shown(events) == [("ADDED", name), ("MODIFIED", name), ("DELETED", name)]
    assert all(
        found["kind"] == "Gadget" and found["apiVersion"] == "conformance.example.com/v1"
        for _, found in events
    )


def test_a_deletion_shows_the_last_state_under_a_new_version(kube: Kube, namespace: str, name: str) -> None:
    created = kube.create(config_map(name, {"last": "words"}), namespace)
    kube.delete("configmaps", name, namespace)

    since = created["metadata"]["resourceVersion"]
    with Watch(kube, "configmaps", namespace, resourceVersion=since) as watch:
        (_, deleted), *_ = watch.until_seen("DELETED", name)

    assert deleted["data"] == {"last": "words"}
    assert deleted["metadata"]["uid"] == created["metadata"]["uid"]
    assert int(deleted["metadata"]["resourceVersion"]) > int(since)


def test_a_watch_from_any_event_tells_exactly_the_later_ones(kube: Kube, namespace: str, name: str) -> None:
    since = version_of(kube, "configmaps", namespace)
    for number in range(5):
        kube.create(config_map(f"{name}-{number}"), namespace)
    with Watch(kube, "configmaps", namespace, resourceVersion=since) as watch:
        events = list(watch.until_seen("ADDED", f"{name}-4"))

    for position, (_, found) in enumerate(events[:-1], start=1):
        with Watch(
            kube, "configmaps", namespace, resourceVersion=found["metadata"]["resourceVersion"]
        ) as watch:
            assert watch.until_seen("ADDED", f"{name}-4") == events[position:]


def test_without_a_version_a_watch_begins_with_all_that_exists(kube: Kube, fresh_namespace: str) -> None:
    for name in ("a", "b"):
        kube.create(config_map(name, labels={"of": "test"}), fresh_namespace)

    for params in ({}, {"resourceVersion": "0"}):
        with Watch(kube, "configmaps", fresh_namespace, labelSelector="of=test", **params) as watch:
            watch.until(lambda events: len(events) == 2)
            kube.patch("configmaps", "a", {"metadata": {"annotations": {"n": repr(params)}}}, fresh_namespace)
            events = watch.until_seen("MODIFIED", "a")
        assert sorted(shown(events[:2])) == [("ADDED", "a"), ("ADDED", "b")]
        assert shown(events[2:]) == [("MODIFIED", "a")]


def test_a_bookmark_ends_the_initial_events(kube: Kube, namespace: str, name: str) -> None:
    kube.create(config_map(name, labels={"of": name}), namespace)

    with Watch(kube, "configmaps", namespace, labelSelector=f"of={name}", **INITIAL_EVENTS) as watch:
        events = list(watch.until(lambda seen: seen and seen[-1][0] == "BOOKMARK"))
        kube.create(config_map(f"{name}-later", labels={"of": name}), namespace)
        after = watch.next()

    assert [kind for kind, _ in events] == ["ADDED", "BOOKMARK"]
    bookmark = events[-1][1]
    assert is_end_of_initial_events(bookmark)
    assert (bookmark["apiVersion"], bookmark["kind"]) == ("v1", "ConfigMap")
    assert int(bookmark["metadata"]["resourceVersion"]) >= int(events[0][1]["metadata"]["resourceVersion"])
    assert shown([after]) == [("ADDED", f"{name}-later")]


def test_a_bookmark_comes_for_nothing_too(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    with Watch(kube, gadgets, namespace, labelSelector=f"of={name}", **INITIAL_EVENTS) as watch:
        kind, bookmark = watch.next()

    assert kind == "BOOKMARK"
    assert is_end_of_initial_events(bookmark)
    assert bookmark["kind"] == "Gadget"


def test_a_watch_goes_on_from_a_bookmark(kube: Kube, namespace: str, name: str) -> None:
    with Watch(kube, "configmaps", namespace, **INITIAL_EVENTS) as watch:
        _, bookmark = watch.until(lambda seen: seen and seen[-1][0] == "BOOKMARK")[-1]
    kube.create(config_map(name), namespace)

    since = bookmark["metadata"]["resourceVersion"]
    with Watch(kube, "configmaps", namespace, resourceVersion=since, allowWatchBookmarks="true") as watch:
        assert shown([watch.next()]) == [("ADDED", name)]


def test_initial_events_need_to_be_asked_for_in_full(kube: Kube, namespace: str) -> None:
    with pytest.raises(Refused) as refused, Watch(kube, "configmaps", namespace, sendInitialEvents="true"):
        pass

    assert (refused.value.code, refused.value.reason) == (422, "Invalid")
    assert causes(refused.value.status) == {"resourceVersionMatch": "FieldValueForbidden"}


def test_a_watch_from_the_distant_past_is_gone(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    kube.create(gadget(name), namespace)

    with Watch(kube, gadgets, namespace, resourceVersion="1") as watch:
        events = watch.to_its_end()

    [(kind, status)] = events
    assert kind == "ERROR"
    assert (status["kind"], status["code"], status["reason"]) == ("Status", 410, "Expired")
    assert status["message"].startswith("too old resource version: 1 (")


def test_a_watch_ends_when_its_time_is_over(kube: Kube, namespace: str) -> None:
    since = version_of(kube, "secrets", namespace)

    with Watch(kube, "secrets", namespace, resourceVersion=since, timeout=1) as watch:
        assert watch.to_its_end() == []
        assert watch.response.is_success


def test_a_watch_selects_by_labels_as_they_are_at_the_time(kube: Kube, namespace: str, name: str) -> None:
    since = version_of(kube, "configmaps", namespace)
    kube.create(config_map(name), namespace)
    kube.patch("configmaps", name, {"metadata": {"labels": {"of": name}}}, namespace)
    kube.patch("configmaps", name, {"data": {"a": "1"}}, namespace)
    left = kube.patch("configmaps", name, {"metadata": {"labels": {"of": "another"}}}, namespace)
    kube.patch("configmaps", name, {"metadata": {"labels": {"of": name}}}, namespace)
    kube.delete("configmaps", name, namespace)

    with Watch(kube, "configmaps", namespace, resourceVersion=since, labelSelector=f"of={name}") as watch:
        events = watch.until(lambda seen: [kind for kind, _ in seen].count("DELETED") == 2)

    assert [kind for kind, _ in events] == ["ADDED", "MODIFIED", "DELETED", "ADDED", "DELETED"]
    # Who leaves the selection is shown as it was when it still belonged, under the version of its leaving.
    assert events[2][1]["metadata"]["labels"] == {"of": name}
    assert events[2][1]["metadata"]["resourceVersion"] == left["metadata"]["resourceVersion"]


def test_a_watch_of_one_object_is_deaf_to_others(kube: Kube, namespace: str, name: str) -> None:
    since = version_of(kube, "configmaps", namespace)
    kube.create(config_map(f"{name}-other"), namespace)
    kube.create(config_map(name), namespace)

    selector = f"metadata.name={name}"
    with Watch(kube, "configmaps", namespace, resourceVersion=since, fieldSelector=selector) as watch:
        assert shown([watch.next()]) == [("ADDED", name)]


def test_a_watch_of_all_namespaces_sees_each(
    kube: Kube, namespace: str, fresh_namespace: str, name: str
) -> None:
    since = version_of(kube, "configmaps", "")
    for place in (namespace, fresh_namespace):
        kube.create(config_map(name, labels={"of": name}), place)

    with Watch(kube, "configmaps", resourceVersion=since, labelSelector=f"of={name}") as watch:
        events = watch.until(lambda seen: len(seen) == 2)

    assert [found["metadata"]["namespace"] for _, found in events] == [namespace, fresh_namespace]


def test_the_watch_of_a_namespace_is_deaf_to_others(
    kube: Kube, namespace: str, fresh_namespace: str, name: str
) -> None:
    since = version_of(kube, "configmaps", namespace)
    for place in (fresh_namespace, namespace):
        kube.create(config_map(name, labels={"of": name}), place)

    with Watch(kube, "configmaps", namespace, resourceVersion=since, labelSelector=f"of={name}") as watch:
        assert watch.next()[1]["metadata"]["namespace"] == namespace


def test_watchers_see_the_same_events(kube: Kube, namespace: str, name: str) -> None:
    selection = {"resourceVersion": version_of(kube, "configmaps", namespace), "labelSelector": f"of={name}"}
    with (
        Watch(kube, "configmaps", namespace, **selection) as one,
        Watch(kube, "configmaps", namespace, **selection) as other,
    ):
        kube.create(config_map(name, labels={"of": name}), namespace)
        kube.patch("configmaps", name, {"data": {"a": "1"}}, namespace)
        kube.delete("configmaps", name, namespace)
        assert one.until_seen("DELETED", name) == other.until_seen("DELETED", name)


def test_a_watch_may_be_asked_for_with_1(kube: Kube, namespace: str, name: str) -> None:
    since = version_of(kube, "configmaps", namespace)
    kube.create(config_map(name), namespace)

    params = {"watch": "1", "resourceVersion": since, "timeoutSeconds": "30"}
    with kube.http.stream("GET", kube.path("configmaps", namespace), params=params) as response:
        assert f'"{name}"' in next(response.iter_lines())
