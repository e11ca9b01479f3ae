"""What belongs to an object goes with it, before it, or stays, as its deletion asks.

https://kubernetes.io/docs/concepts/architecture/garbage-collection/
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conformance.gadgets import an_object, crd, gadget
from tests.conformance.manifests import config_map, owned_by
from tests.conformance.waiting import CRDS, established
from tests.harness.kube import Kube, Object, Refused

STAY = "conformance.example.com/stay"
NewName = Callable[[], str]


def family(
    kube: Kube, namespace: str, name: str, *, block: bool = False, finalizers: tuple[str, ...] = ()
) -> Object:
    """Create an owner and one dependent called ``{name}-child``; return the owner."""
    owner = kube.create(config_map(name), namespace)
    references = owned_by(owner, block=block)
    child = config_map(f"{name}-child", ownerReferences=references, finalizers=list(finalizers))
    kube.create(child, namespace)
    return owner


def delete(kube: Kube, namespace: str, name: str, policy: str) -> int:
    path = kube.path("configmaps", namespace, name)
    return kube.http.request("DELETE", path, json={"propagationPolicy": policy}).status_code


def test_dependents_go_after_their_owner_by_default(kube: Kube, namespace: str, name: str) -> None:
    family(kube, namespace, name)

    kube.delete("configmaps", name, namespace)

    assert kube.find("configmaps", name, namespace) is None
    kube.gone("configmaps", f"{name}-child", namespace)


def test_in_the_background_the_owner_goes_at_once(kube: Kube, namespace: str, name: str) -> None:
    family(kube, namespace, name, block=True, finalizers=(STAY,))

    assert delete(kube, namespace, name, "Background") == 200

    assert kube.find("configmaps", name, namespace) is None
    child = kube.wait(
        "configmaps", f"{name}-child", namespace, until=lambda one: "deletionTimestamp" in one["metadata"]
    )
    assert child["metadata"]["finalizers"] == [STAY]
    kube.patch("configmaps", f"{name}-child", {"metadata": {"finalizers": None}}, namespace)


def test_in_the_foreground_the_owner_waits_for_its_dependents(kube: Kube, namespace: str, name: str) -> None:
    family(kube, namespace, name, block=True, finalizers=(STAY,))

    assert delete(kube, namespace, name, "Foreground") == 200

    child = f"{name}-child"
    kube.wait("configmaps", child, namespace, until=lambda one: "deletionTimestamp" in one["metadata"])
    owner = kube.get("configmaps", name, namespace)
    assert owner["metadata"]["finalizers"] == ["foregroundDeletion"]
    kube.patch("configmaps", child, {"metadata": {"finalizers": None}}, namespace)
    kube.gone("configmaps", name, namespace)
    assert kube.find("configmaps", child, namespace) is None


def test_in_the_foreground_the_owner_does_not_wait_for_those_that_do_not_block(
    kube: Kube, namespace: str, name: str
) -> None:
    family(kube, namespace, name, block=False, finalizers=(STAY,))

    delete(kube, namespace, name, "Foreground")

    kube.gone("configmaps", name, namespace)
    child = f"{name}-child"
    kube.wait("configmaps", child, namespace, until=lambda one: "deletionTimestamp" in one["metadata"])
    kube.patch("configmaps", child, {"metadata": {"finalizers": None}}, namespace)


def test_an_orphan_stays_without_its_owner(kube: Kube, namespace: str, name: str) -> None:
    family(kube, namespace, name, block=True)

    assert delete(kube, namespace, name, "Orphan") == 200

    kube.gone("configmaps", name, namespace)
    child = kube.get("configmaps", f"{name}-child", namespace)
    assert "ownerReferences" not in child["metadata"]
    assert "deletionTimestamp" not in child["metadata"]


def test_grandchildren_go_too(kube: Kube, namespace: str, name: str) -> None:
    family(kube, namespace, name)
    child = kube.get("configmaps", f"{name}-child", namespace)
    kube.create(config_map(f"{name}-grandchild", ownerReferences=owned_by(child)), namespace)

    kube.delete("configmaps", name, namespace)

    kube.gone("configmaps", f"{name}-grandchild", namespace)


def test_who_has_another_owner_stays(kube: Kube, namespace: str, new_name: NewName) -> None:
    first, second, child = new_name(), new_name(), new_name()
    owners = [kube.create(config_map(owner), namespace) for owner in (first, second)]
    kube.create(config_map(child, ownerReferences=owned_by(*owners)), namespace)

    kube.delete("configmaps", first, namespace)

    # The reference to the owner that is gone is taken out.
    only_second = owned_by(owners[1])
    kube.wait(
        "configmaps", child, namespace, until=lambda one: one["metadata"]["ownerReferences"] == only_second
    )
    kube.delete("configmaps", second, namespace)
    kube.gone("configmaps", child, namespace)


def test_who_is_born_after_the_owners_end_goes_as_well(kube: Kube, namespace: str, name: str) -> None:
    owner = kube.create(config_map(name), namespace)
    kube.delete("configmaps", name, namespace)

    kube.create(config_map(f"{name}-child", ownerReferences=owned_by(owner)), namespace)

    kube.gone("configmaps", f"{name}-child", namespace)


def test_an_owner_is_known_by_its_uid_not_its_name(kube: Kube, namespace: str, name: str) -> None:
    family(kube, namespace, name)

    kube.delete("configmaps", name, namespace)
    kube.create(config_map(name), namespace)

    kube.gone("configmaps", f"{name}-child", namespace)
    assert kube.find("configmaps", name, namespace) is not None


def test_custom_resources_own_and_are_owned(
    kube: Kube, namespace: str, gadgets: str, new_name: NewName
) -> None:
    owner = kube.create(gadget(new_name()), namespace)
    child = kube.create(gadget(new_name(), metadata={"ownerReferences": owned_by(owner)}), namespace)
    config = kube.create(config_map(new_name(), ownerReferences=owned_by(child)), namespace)

    kube.delete(gadgets, owner["metadata"]["name"], namespace)

    # A real garbage collector looks for new custom resources every 30 seconds.
    kube.gone("configmaps", config["metadata"]["name"], namespace, timeout=150)
    assert kube.find(gadgets, child["metadata"]["name"], namespace) is None


def test_what_custom_resources_own_goes_with_their_definition(kube: Kube, namespace: str, name: str) -> None:
    group = f"{name}.example.com"
    things = kube.create(crd("things", "Thing", an_object(), group=group))["metadata"]["name"]
    established(kube, things)
    for thing in ("first", "last"):
        manifest = {"apiVersion": f"{group}/v1", "kind": "Thing", "metadata": {"name": thing}}
        owner = kube.create(manifest, namespace)
        kube.create(config_map(f"of-{thing}", ownerReferences=owned_by(owner)), namespace)

    # A real garbage collector looks for new custom resources every 30 seconds.
    kube.delete(things, "first", namespace)
    kube.gone("configmaps", "of-first", namespace, timeout=150)
    kube.delete(CRDS, things)

    kube.gone("configmaps", "of-last", namespace, timeout=150)


def test_only_one_owner_is_the_controller(kube: Kube, namespace: str, new_name: NewName) -> None:
    owners = [kube.create(config_map(new_name()), namespace) for _ in range(2)]
    references = [{**reference, "controller": True} for reference in owned_by(*owners)]

    with pytest.raises(Refused, match="Only one reference can have Controller set to true") as refused:
        kube.create(config_map(new_name(), ownerReferences=references), namespace)

    assert (refused.value.code, refused.value.reason) == (422, "Invalid")


def test_an_owner_reference_is_complete(kube: Kube, namespace: str, name: str) -> None:
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": ""}
    with pytest.raises(Refused) as refused:
        kube.create(config_map(name, ownerReferences=[reference]), namespace)

    assert refused.value.code == 422
    assert "must not be empty" in refused.value.status["message"]
