"""Lists: in parts, at a version, and all of one moment.

https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.gadgets import gadget
from tests.conformance.manifests import causes, config_map
from tests.harness.kube import Kube, Object, Refused


def listing(kube: Kube, namespace: str, resource: str = "configmaps", **params: Any) -> Object:
    return kube.request("GET", kube.path(resource, namespace), params=params)


def names(page: Object) -> list[str]:
    return [item["metadata"]["name"] for item in page["items"]]


def test_a_list_has_a_kind_and_a_version(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    created = kube.create(gadget(name), namespace)

    found = listing(kube, namespace, gadgets)

    assert (found["apiVersion"], found["kind"]) == ("conformance.example.com/v1", "GadgetList")
    assert int(found["metadata"]["resourceVersion"]) >= int(created["metadata"]["resourceVersion"])
    assert created in found["items"]


def test_an_empty_list_has_items(kube: Kube, fresh_namespace: str) -> None:
    found = listing(kube, fresh_namespace, "secrets")

    assert (found["kind"], found["items"]) == ("SecretList", [])


def test_a_list_is_ordered_by_name(kube: Kube, fresh_namespace: str) -> None:
    for name in ("b", "c", "a"):
        kube.create(config_map(name, labels={"of": "test"}), fresh_namespace)

    assert names(listing(kube, fresh_namespace, labelSelector="of=test")) == ["a", "b", "c"]


def test_a_list_of_all_namespaces_has_each(
    kube: Kube, namespace: str, fresh_namespace: str, name: str
) -> None:
    for place in (namespace, fresh_namespace):
        kube.create(config_map(name, labels={"of": name}), place)

    found = kube.list("configmaps", selector=f"of={name}")

    assert {item["metadata"]["namespace"] for item in found} == {namespace, fresh_namespace}


def test_a_list_comes_in_parts(kube: Kube, fresh_namespace: str) -> None:
    for name in "abcde":
        kube.create(config_map(name, labels={"of": "test"}), fresh_namespace)

    first = listing(kube, fresh_namespace, limit=2, labelSelector="of=test")
    second = listing(
        kube, fresh_namespace, limit=2, labelSelector="of=test", **{"continue": first["metadata"]["continue"]}
    )
    third = listing(
        kube,
        fresh_namespace,
        limit=2,
        labelSelector="of=test",
        **{"continue": second["metadata"]["continue"]},
    )

    assert [names(page) for page in (first, second, third)] == [["a", "b"], ["c", "d"], ["e"]]
    assert "continue" not in third["metadata"]
    assert {page["metadata"]["resourceVersion"] for page in (first, second, third)} == {
        first["metadata"]["resourceVersion"]
    }


def test_a_part_tells_how_many_remain(kube: Kube, fresh_namespace: str, gadgets: str) -> None:
    for name in "abc":
        kube.create(gadget(name), fresh_namespace)

    first = listing(kube, fresh_namespace, gadgets, limit=1)

    assert first["metadata"]["remainingItemCount"] == 2


def test_the_parts_of_a_list_are_of_one_moment(kube: Kube, fresh_namespace: str) -> None:
    for name in "abcd":
        kube.create(config_map(name, {"when": "before"}, labels={"of": "test"}), fresh_namespace)
    first = listing(kube, fresh_namespace, limit=2, labelSelector="of=test")

    kube.create(config_map("bb", labels={"of": "test"}), fresh_namespace)
    kube.delete("configmaps", "c", fresh_namespace)
    kube.patch("configmaps", "d", {"data": {"when": "after"}}, fresh_namespace)
    rest = listing(
        kube, fresh_namespace, labelSelector="of=test", **{"continue": first["metadata"]["continue"]}
    )

    assert names(rest) == ["c", "d"]
    assert rest["items"][1]["data"] == {"when": "before"}


def test_a_broken_token_is_refused(kube: Kube, namespace: str) -> None:
    with pytest.raises(Refused, match="continue key is not valid") as refused:
        listing(kube, namespace, limit=1, **{"continue": "nonsense"})

    assert (refused.value.code, refused.value.reason) == (400, "BadRequest")


def test_a_list_not_older_than_a_version_has_at_least_that(kube: Kube, namespace: str, name: str) -> None:
    version = kube.create(config_map(name), namespace)["metadata"]["resourceVersion"]

    found = listing(kube, namespace, resourceVersion=version, resourceVersionMatch="NotOlderThan")

    assert name in names(found)


def test_a_list_at_an_exact_version_is_of_that_moment(kube: Kube, namespace: str, name: str) -> None:
    version = kube.create(config_map(name, labels={"of": name}), namespace)["metadata"]["resourceVersion"]
    kube.create(config_map(f"{name}-later", labels={"of": name}), namespace)
    kube.delete("configmaps", name, namespace)

    found = listing(
        kube, namespace, labelSelector=f"of={name}", resourceVersion=version, resourceVersionMatch="Exact"
    )

    assert names(found) == [name]
    assert found["metadata"]["resourceVersion"] == version


def test_any_version_will_do_with_0(kube: Kube, namespace: str) -> None:
    assert listing(kube, namespace, resourceVersion="0")["kind"] == "ConfigMapList"


def test_a_match_needs_a_version(kube: Kube, namespace: str) -> None:
    with pytest.raises(Refused) as refused:
        listing(kube, namespace, resourceVersionMatch="Exact")

    assert (refused.value.code, refused.value.reason) == (422, "Invalid")
    assert causes(refused.value.status) == {"resourceVersionMatch": "FieldValueForbidden"}


@pytest.mark.full  # a real API server waits for seconds whether it gets there
def test_a_version_from_the_future_times_out(kube: Kube, namespace: str) -> None:
    version = int(listing(kube, namespace)["metadata"]["resourceVersion"]) + 1_000_000_000

    with pytest.raises(Refused, match="Too large resource version") as refused:
        listing(kube, namespace, resourceVersion=str(version), resourceVersionMatch="NotOlderThan")

    assert (refused.value.code, refused.value.reason) == (504, "Timeout")


def test_a_version_is_a_number(kube: Kube, namespace: str) -> None:
    with pytest.raises(Refused) as refused:
        listing(kube, namespace, resourceVersion="yesterday")

    assert refused.value.code in (400, 422)
