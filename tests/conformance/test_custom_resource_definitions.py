"""The life of a CustomResourceDefinition: what it serves, since when, and until when.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conformance.gadgets import INTEGER, STRING, an_object, crd, gadget
from tests.conformance.manifests import causes
from tests.conformance.waiting import CRDS, condition_is, established, eventually
from tests.harness.kube import PATCH_TYPES, Kube, Object, Refused

Install = Callable[..., str]


def thing(group: str, version: str = "v1", **spec: Any) -> Object:
    return {"apiVersion": f"{group}/{version}", "kind": "Thing", "metadata": {"name": "one"}, "spec": spec}


def thing_crd(group: str, **version: Any) -> Object:
    return crd("things", "Thing", an_object(spec=an_object(a=STRING, b=INTEGER)), group=group, **version)


@pytest.fixture
def group(name: str) -> str:
    """An API group of the test's own."""
    return f"{name}.example.com"


@pytest.fixture
def install(kube: Kube) -> Iterator[Callable[[Object], str]]:
    """Install a CRD for the test and return its name, which is its resource."""
    installed = []

    def create(manifest: Object) -> str:
        name = kube.create(manifest)["metadata"]["name"]
        installed.append(name)
        established(kube, name)
        return name

    yield create
    for name in installed:
        kube.delete(CRDS, name)


def test_a_resource_is_served_as_soon_as_it_is_established(
    kube: Kube, namespace: str, group: str, install: Install
) -> None:
    things = install(thing_crd(group))

    found = kube.get(CRDS, things)
    assert condition_is(found, "NamesAccepted")
    assert found["status"]["acceptedNames"]["kind"] == "Thing"
    assert found["status"]["storedVersions"] == ["v1"]
    assert kube.create(thing(group, a="x"), namespace)["spec"] == {"a": "x"}
    assert [one["metadata"]["name"] for one in kube.list(things, namespace)] == ["one"]


def test_a_new_definition_has_no_conditions_yet(kube: Kube, group: str) -> None:
    status = kube.create(thing_crd(group), dryRun="All")["status"]

    assert status["conditions"] is None
    assert status["storedVersions"] == ["v1"]


def test_names_that_are_not_given_are_derived(kube: Kube, group: str, install: Install) -> None:
    manifest = thing_crd(group)
    manifest["spec"]["names"] = {"plural": "things", "kind": "Thing"}

    found = kube.get(CRDS, install(manifest))

    assert found["spec"]["names"] == {
        "plural": "things",
        "singular": "thing",
        "kind": "Thing",
        "listKind": "ThingList",
    }
    assert found["spec"]["conversion"] == {"strategy": "None"}


def test_discovery_knows_a_new_resource(kube: Kube, group: str, install: Install) -> None:
    manifest = thing_crd(group, subresources={"status": {}})
    manifest["spec"]["names"].update(shortNames=["th"], categories=["all"])
    install(manifest)

    resources = eventually(
        lambda: {one["name"]: one for one in kube.request("GET", f"/apis/{group}/v1")["resources"]},
        until=lambda found: len(found) == 2,
    )
    assert resources["things"] == {
        **resources["things"],
        "singularName": "thing",
        "namespaced": True,
        "kind": "Thing",
        "shortNames": ["th"],
        "categories": ["all"],
    }
    assert set(resources["things"]["verbs"]) == {
        "create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"
    }  # fmt: skip
    assert set(resources["things/status"]["verbs"]) == {"get", "patch", "update"}
    groups = eventually(
        lambda: {one["name"]: one for one in kube.request("GET", "/apis")["groups"]},
        until=lambda found: group in found,
    )
    assert groups[group]["preferredVersion"] == {"groupVersion": f"{group}/v1", "version": "v1"}


def test_cluster_scoped_resources_have_no_namespace(kube: Kube, group: str, install: Install) -> None:
    manifest = thing_crd(group)
    manifest["spec"]["scope"] = "Cluster"
    things = install(manifest)

    created = kube.create(thing(group, a="x"))

    assert "namespace" not in created["metadata"]
    assert kube.get(things, "one")["spec"] == {"a": "x"}
    with pytest.raises(Refused) as refused:
        kube.request("GET", f"/apis/{group}/v1/namespaces/default/things/one")
    assert refused.value.code == 404


def test_a_removed_definition_takes_its_objects_along(
    kube: Kube, namespace: str, group: str, install: Install
) -> None:
    things = install(thing_crd(group))
    kube.create(thing(group), namespace)

    kube.delete(CRDS, things)

    kube.gone(CRDS, things)
    path = kube.path(things, namespace)
    eventually(lambda: kube.http.get(path).status_code, until=lambda code: code == 404)


def test_a_definition_waits_for_the_finalizers_of_its_objects(
    kube: Kube, namespace: str, group: str, install: Install
) -> None:
    things = install(thing_crd(group))
    manifest = thing(group)
    manifest["metadata"]["finalizers"] = ["conformance.example.com/stay"]
    kube.create(manifest, namespace)

    kube.delete(CRDS, things)

    kube.wait(things, "one", namespace, until=lambda found: "deletionTimestamp" in found["metadata"])
    assert kube.get(CRDS, things)["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
    kube.patch(things, "one", {"metadata": {"finalizers": None}}, namespace)
    kube.gone(CRDS, things)


def test_what_is_not_served_is_not_found(
    kube: Kube, namespace: str, gadgets: str, group: str, install: Install
) -> None:
    manifest = thing_crd(group)
    [version] = manifest["spec"]["versions"]
    manifest["spec"]["versions"].append({**version, "name": "v0", "served": False, "storage": False})
    install(manifest)

    for path in (
        f"/apis/{group}/v0/namespaces/{namespace}/things",
        f"/apis/{group}/v9/namespaces/{namespace}/things",
        f"/apis/nobody.{group}/v1/namespaces/{namespace}/things",
        f"/apis/conformance.example.com/v1/namespaces/{namespace}/nothings",
        f"/apis/conformance.example.com/v1/namespaces/{namespace}/gadgets/x/nothing",
        f"/api/v1/namespaces/{namespace}/nothings",
    ):
        assert kube.http.get(path).status_code == 404, path


def test_all_served_versions_show_the_same_objects(
    kube: Kube, namespace: str, group: str, install: Install
) -> None:
    manifest = thing_crd(group)
    [version] = manifest["spec"]["versions"]
    manifest["spec"]["versions"].append({**version, "name": "v1beta1", "storage": False})
    install(manifest)

    created = kube.create(thing(group, a="x"), namespace)
    other = kube.request("GET", f"/apis/{group}/v1beta1/namespaces/{namespace}/things/one")

    assert other["apiVersion"] == f"{group}/v1beta1"
    assert (other["metadata"]["uid"], other["spec"]) == (created["metadata"]["uid"], {"a": "x"})


def test_a_new_default_shows_in_old_objects(kube: Kube, namespace: str, group: str, install: Install) -> None:
    things = install(thing_crd(group))
    old = kube.create(thing(group, a="x"), namespace)

    schema = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/b"
    kube.patch(CRDS, things, [{"op": "add", "path": f"{schema}/default", "value": 5}], kind="json")

    found = eventually(
        lambda: kube.get(things, "one", namespace), until=lambda found: found["spec"] == {"a": "x", "b": 5}
    )
    assert found["metadata"]["resourceVersion"] == old["metadata"]["resourceVersion"]


def test_a_stricter_schema_holds_for_later_writes(
    kube: Kube, namespace: str, group: str, install: Install
) -> None:
    things = install(thing_crd(group))
    kube.create(thing(group, a="x"), namespace)

    schema = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/a"
    kube.patch(CRDS, things, [{"op": "add", "path": f"{schema}/maxLength", "value": 3}], kind="json")

    def is_refused() -> bool:
        try:
            kube.patch(things, "one", {"spec": {"a": "longer"}}, namespace, dryRun="All")
        except Refused as refused:
            return causes(refused.status) == {"spec.a": "FieldValueTooLong"}
        return False

    eventually(is_refused)
    assert kube.get(things, "one", namespace)["spec"] == {"a": "x"}


def test_what_no_longer_fits_is_tolerated_until_it_is_changed(
    kube: Kube, namespace: str, group: str, install: Install
) -> None:
    """https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-ratcheting"""
    things = install(thing_crd(group))
    kube.create(thing(group, a="longer"), namespace)
    schema = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/a"
    kube.patch(CRDS, things, [{"op": "add", "path": f"{schema}/maxLength", "value": 3}], kind="json")

    def is_refused() -> bool:
        try:
            kube.create({**thing(group, a="longer"), "metadata": {"name": "two"}}, namespace, dryRun="All")
        except Refused as refused:
            return refused.code == 422
        return False

    eventually(is_refused)
    assert kube.patch(things, "one", {"spec": {"b": 1}}, namespace)["spec"] == {"a": "longer", "b": 1}
    with pytest.raises(Refused):
        kube.patch(things, "one", {"spec": {"a": "still longer"}}, namespace)


def test_a_definition_can_be_applied_and_changed(kube: Kube, group: str, install: Install) -> None:
    things = install(thing_crd(group))

    applied = kube.apply(
        thing_crd(group, additionalPrinterColumns=[{"name": "A", "type": "string", "jsonPath": ".spec.a"}])
    )

    assert applied["metadata"]["name"] == things
    assert applied["metadata"]["generation"] == 2


def spec_without(field: str) -> Callable[[Object], None]:
    return lambda manifest: manifest["spec"].pop(field)


def in_version(**change: Any) -> Callable[[Object], None]:
    return lambda manifest: manifest["spec"]["versions"][0].update(change)


def with_schema(schema: Object) -> Callable[[Object], None]:
    return in_version(schema={"openAPIV3Schema": schema})


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda manifest: manifest["metadata"].update(name="other.example.com"), "metadata.name"),
        (lambda manifest: manifest["spec"].update(scope="Galaxy"), "spec.scope"),
        (lambda manifest: manifest["spec"]["versions"].clear(), "spec.versions"),
        (in_version(storage=False), "spec.versions"),
        (in_version(schema=None), "spec.versions[0].schema.openAPIV3Schema"),
        (with_schema(an_object(spec={})), "spec.validation.openAPIV3Schema.properties[spec].type"),
        (
            with_schema(
                an_object(
                    spec={"type": "object", "properties": {"a": STRING}, "additionalProperties": STRING}
                )
            ),
            "spec.validation.openAPIV3Schema.properties[spec]",
        ),
        (
            with_schema(an_object(spec={"type": "array", "items": INTEGER, "uniqueItems": True})),
            "spec.validation.openAPIV3Schema.properties[spec].uniqueItems",
        ),
        (
            with_schema(an_object(spec=an_object(a={"type": "integer", "default": "one"}))),
            "spec.validation.openAPIV3Schema.properties[spec].properties[a].default",
        ),
        (
            with_schema(
                an_object(spec={**an_object(a=STRING), "x-kubernetes-validations": [{"rule": "self.b == 1"}]})
            ),
            "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule",
        ),
        (
            with_schema(
                an_object(
                    spec={
                        **an_object(a=STRING),
                        "x-kubernetes-validations": [{"rule": "true", "fieldPath": ".b"}],
                    }
                )
            ),
            "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].fieldPath",
        ),
        (
            with_schema(an_object(spec=an_object(a={**STRING, "pattern": "^(?!b)"}))),
            "spec.validation.openAPIV3Schema.properties[spec].properties[a].pattern",
        ),
        (lambda manifest: manifest["spec"]["names"].update(listKind="Thing"), "spec.names.listKind"),
        (lambda manifest: manifest["spec"]["names"].update(categories=["A_"]), "spec.names.categories[0]"),
    ],
    ids=[
        "name",
        "scope",
        "no version",
        "no storage",
        "no schema",
        "no type",
        "both",
        "unique",
        "default",
        "rule",
        "path of a rule",
        "lookahead",
        "kind of lists",
        "category",
    ],
)
def test_a_definition_is_validated(
    kube: Kube, group: str, change: Callable[[Object], None], field: str
) -> None:
    manifest = thing_crd(group)
    change(manifest)

    with pytest.raises(Refused) as refused:
        kube.create(manifest)

    assert (refused.value.code, refused.value.reason) == (422, "Invalid")
    named = causes(refused.value.status)
    # With versions of schemas of their own the path is that of the version.
    in_versions = field.replace("spec.validation", "spec.versions[0].schema")
    assert any(one.startswith((field, in_versions)) for one in named), refused.value.status["message"]


def test_a_scale_reads_and_writes_replicas(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    kube.create(gadget(name, replicas=2), namespace)
    status = {"status": {"replicas": 1, "selector": "of=test"}}
    kube.patch(gadgets, name, status, namespace, subresource="status")

    scale = kube.get(gadgets, name, namespace, "scale")
    assert (scale["apiVersion"], scale["kind"]) == ("autoscaling/v1", "Scale")
    assert (scale["metadata"]["name"], scale["metadata"]["namespace"]) == (name, namespace)
    assert scale["spec"] == {"replicas": 2}
    assert scale["status"] == {"replicas": 1, "selector": "of=test"}

    answer = kube.patch(gadgets, name, {"spec": {"replicas": 4}}, namespace, subresource="scale")
    assert answer["spec"] == {"replicas": 4}
    found = kube.get(gadgets, name, namespace)
    assert found["spec"]["replicas"] == 4
    assert found["metadata"]["generation"] == 2
    assert found["spec"]["size"] == "M"


def test_a_scale_can_be_put(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    kube.create(gadget(name, replicas=2), namespace)
    path = kube.path(gadgets, namespace, name, "scale")
    scale = kube.request("GET", path)

    scale["spec"]["replicas"] = 3
    kube.request("PUT", path, json=scale)

    assert kube.get(gadgets, name, namespace)["spec"]["replicas"] == 3
    with pytest.raises(Refused) as refused:
        kube.request("PUT", path, json=scale)
    assert refused.value.reason == "Conflict"


def test_a_scale_is_validated(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    kube.create(gadget(name, replicas=2), namespace)

    for replicas in (-1, 11):
        with pytest.raises(Refused) as refused:
            kube.patch(gadgets, name, {"spec": {"replicas": replicas}}, namespace, subresource="scale")
        assert (refused.value.code, refused.value.reason) == (422, "Invalid")


def test_a_change_of_scale_is_owned_by_who_made_it(
    kube: Kube, namespace: str, gadgets: str, name: str
) -> None:
    kube.apply(gadget(name, replicas=2), namespace, manager="applier")

    kube.patch(
        gadgets, name, {"spec": {"replicas": 3}}, namespace, subresource="scale", fieldManager="scaler"
    )

    with pytest.raises(Refused, match='conflict with "scaler" with subresource "scale"'):
        kube.request(
            "PATCH",
            kube.path(gadgets, namespace, name),
            content=json.dumps(gadget(name, replicas=2)),
            headers={"Content-Type": PATCH_TYPES["apply"]},
            params={"fieldManager": "applier"},
        )


def test_without_the_subresource_there_is_no_scale(
    kube: Kube, namespace: str, plains: str, name: str
) -> None:
    with pytest.raises(Refused) as refused:
        kube.get(plains, name, namespace, "scale")
    assert refused.value.code == 404
