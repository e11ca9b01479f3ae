"""What kubectl shows: get, describe, explain, events, api-resources.

https://kubernetes.io/docs/reference/kubectl/
"""

from __future__ import annotations

import re

import pytest
import yaml

from tests.conformance.gadgets import GADGETS, gadget
from tests.conformance.kubectl import Kubectl, KubectlFailed
from tests.conformance.manifests import config_map, service
from tests.conformance.pods import FOREVER, Pods, shell
from tests.conformance.waiting import eventually
from tests.harness.kube import Kube


def test_get_shows_our_columns(kubectl: Kubectl, kube: Kube, name: str) -> None:
    kube.create(gadget(name, code="abc"), kubectl.namespace)
    kube.patch(GADGETS, name, {"status": {"phase": "Ready"}}, kubectl.namespace, subresource="status")

    header, row = kubectl.rows("get", "gadget", name)
    assert header == ["NAME", "SIZE", "DESIRED", "PHASE", "AGE"]
    assert row[:-1] == [name, "M", "1", "Ready"]
    assert re.fullmatch(r"\d+[smh]", row[-1])
    header, row = kubectl.rows("get", "gadget", name, "-o", "wide")
    assert header == ["NAME", "SIZE", "DESIRED", "PHASE", "CODE", "AGE"]
    assert row[4] == "abc"


def test_get_knows_every_name_of_a_resource(kubectl: Kubectl, kube: Kube, name: str) -> None:
    kube.create(gadget(name), kubectl.namespace)

    for resource in (
        "gadgets",
        "gadget",
        "gad",
        GADGETS,
        "gadgets.v1.conformance.example.com",
        "conformance",
    ):
        assert f"gadget.conformance.example.com/{name}" in kubectl("get", resource, "-o", "name").splitlines()


def test_get_in_many_forms(kubectl: Kubectl, kube: Kube, name: str) -> None:
    created = kube.create(gadget(name), kubectl.namespace)
    del created["metadata"]["managedFields"]

    assert yaml.safe_load(kubectl("get", "gadget", name, "-o", "yaml")) == created
    assert kubectl.json("get", "gadget", name) == created
    assert kubectl("get", "gadget", name, "-o", "jsonpath={.spec.size}") == "M"
    assert kubectl(
        "get", "gadget", name, "--no-headers", "-o", "custom-columns=:.metadata.name,:.spec.size"
    ).split() == [
        name,
        "M",
    ]


def test_get_selects_and_sorts(kubectl: Kubectl, kube: Kube, name: str) -> None:
    for number, size in enumerate("SML"):
        metadata = {"labels": {"of": name, "number": str(number)}}
        kube.create(gadget(f"{name}-{number}", metadata=metadata, size=size), kubectl.namespace)

    def names(*arguments: str) -> list[str]:
        return [
            row[0].removeprefix(f"{name}-")
            for row in kubectl.rows("get", "gadgets", "--no-headers", *arguments)
        ]

    assert names("-l", f"of={name},number!=1") == ["0", "2"]
    assert names("-l", f"of={name}", "--sort-by=.spec.size") == ["2", "1", "0"]
    assert names("--field-selector", f"metadata.name={name}-1") == ["1"]
    assert [row[1] for row in kubectl.rows("get", "gadgets", "-A", "--no-headers", "-l", f"of={name}")] == [
        f"{name}-{number}" for number in range(3)
    ]
    header, *_ = kubectl.rows("get", "gadgets", "-l", f"of={name}", "-L", "number")
    assert header[-1] == "NUMBER"


def test_get_comes_in_chunks(kubectl: Kubectl, kube: Kube, name: str) -> None:
    for number in range(5):
        kube.create(config_map(f"{name}-{number}", labels={"of": name}), kubectl.namespace)

    assert len(kubectl.rows("get", "configmaps", "--no-headers", "-l", f"of={name}", "--chunk-size=2")) == 5


def test_get_of_nothing_says_so(kubectl: Kubectl, name: str) -> None:
    with pytest.raises(KubectlFailed, match=f'gadgets.conformance.example.com "{name}" not found'):
        kubectl("get", "gadget", name)
    with pytest.raises(KubectlFailed, match="the server doesn't have a resource type"):
        kubectl("get", "gidgets")
    assert kubectl("get", "gadget", name, "--ignore-not-found") == ""


def test_get_watches(kubectl: Kubectl, kube: Kube, name: str) -> None:
    kube.create(gadget(name, metadata={"labels": {"of": name}}), kubectl.namespace)

    with kubectl.lines("get", "gadgets", "-l", f"of={name}", "-w") as lines:
        assert next(lines).split()[:2] == ["NAME", "SIZE"]
        assert next(lines).split()[:2] == [name, "M"]
        kube.patch(GADGETS, name, {"spec": {"size": "L"}}, kubectl.namespace)
        assert next(lines).split()[:2] == [name, "L"]


def test_get_watches_with_the_kind_of_change(kubectl: Kubectl, kube: Kube, name: str) -> None:
    kube.create(gadget(f"{name}-1", metadata={"labels": {"of": name}}), kubectl.namespace)

    with kubectl.lines("get", "gadgets", "-l", f"of={name}", "-w", "--output-watch-events") as lines:
        assert next(lines).split()[0] == "EVENT"
        assert next(lines).split()[:2] == ["ADDED", f"{name}-1"]
        kube.create(gadget(f"{name}-2", metadata={"labels": {"of": name}}), kubectl.namespace)
        assert next(lines).split()[:2] == ["ADDED", f"{name}-2"]
        kube.delete(GADGETS, f"{name}-1", kubectl.namespace)
        assert next(lines).split()[:2] == ["DELETED", f"{name}-1"]


def test_get_shows_pods_as_people_know_them(kubectl: Kubectl, pods: Pods) -> None:
    name = pods.run(FOREVER)
    pods.ready(name)

    header, row = kubectl.rows("get", "pod", name)
    assert header == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert row[:4] == [name, "1/1", "Running", "0"]
    header, row = kubectl.rows("get", "pod", name, "-o", "wide")
    pod = pods.kube.get("pods", name, pods.namespace)
    assert row[5:7] == [pod["status"]["podIP"], pod["spec"]["nodeName"]]


def test_get_shows_why_a_pod_is_not_well(kubectl: Kubectl, pods: Pods) -> None:
    crashing = pods.run(shell("exit 1"), restartPolicy="Always")
    missing = pods.run(FOREVER, container={"image": "registry.invalid/missing:1"})
    done = pods.run(shell("exit 0"))

    def status(name: str) -> str:
        return kubectl.rows("get", "pod", name, "--no-headers")[0][2]

    eventually(lambda: status(crashing), until=lambda found: found == "CrashLoopBackOff")
    eventually(lambda: status(missing), until=lambda found: found in ("ErrImagePull", "ImagePullBackOff"))
    eventually(lambda: status(done), until=lambda found: found == "Completed")


def test_get_all(kubectl: Kubectl, pods: Pods, kube: Kube, name: str) -> None:
    kube.create(service(name), pods.namespace)

    assert f"service/{name}" in kubectl("get", "all", "-o", "name").splitlines()


def test_describe_tells_of_a_custom_resource_and_its_events(kubectl: Kubectl, kube: Kube, name: str) -> None:
    about = kube.create(gadget(name), kubectl.namespace)
    reference = {key: about["metadata"][key] for key in ("name", "namespace", "uid")}
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name},
        "involvedObject": {"apiVersion": about["apiVersion"], "kind": "Gadget", **reference},
        "type": "Normal",
        "reason": "Tested",
        "message": "a test was here",
    }
    kube.create(event, kubectl.namespace)

    written = kubectl("describe", "gadget", name)

    assert re.search(rf"^Name: +{name}$", written, re.MULTILINE)
    assert re.search(r"Size: +M$", written, re.MULTILINE)
    assert re.search(r"Normal +Tested +.*a test was here", written)


def test_describe_tells_of_a_pod(kubectl: Kubectl, pods: Pods) -> None:
    name = pods.run(FOREVER)
    pods.ready(name)

    written = kubectl("describe", "pod", name)

    assert re.search(r"^Status: +Running$", written, re.MULTILINE)
    assert re.search(
        r"Normal +Started",
        eventually(lambda: kubectl("describe", "pod", name), until=lambda w: "Started " in w),
    )


def test_describe_tells_of_other_kinds(kubectl: Kubectl, kube: Kube, name: str) -> None:
    kube.create(service(name, {"app": name}), kubectl.namespace)

    assert re.search(r"^Type: +ClusterIP$", kubectl("describe", "service", name), re.MULTILINE)
    assert re.search(r"^Status: +Active$", kubectl("describe", "namespace", kubectl.namespace), re.MULTILINE)
    assert "Allocatable:" in kubectl("describe", "nodes")


def test_explain_tells_what_a_field_is_for(kubectl: Kubectl) -> None:
    written = kubectl("explain", "gadget.spec.size")
    assert "How large the gadget is." in written
    assert "<string>" in written

    written = kubectl("explain", "pods.spec.containers")
    assert "FIELD: containers <[]Container>" in written
    assert "image" in written
    written = kubectl("explain", "gadget.spec", "--recursive")
    assert re.search(r"ports\s+<\[\]Object>", written)


def test_events_are_told_of_an_object(kubectl: Kubectl, pods: Pods) -> None:
    name = pods.run(FOREVER)
    pods.ready(name)

    written = eventually(
        lambda: kubectl("events", "--for", f"pod/{name}"), until=lambda found: "Started" in found
    )
    assert written.split()[:5] == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT"]
    assert "Scheduled" in written
    assert f"pod/{name}" in kubectl("get", "events", "--field-selector", f"involvedObject.name={name}")


def test_api_resources_and_versions(kubectl: Kubectl) -> None:
    rows = {
        row[0]: row[1:]
        for row in kubectl.rows("api-resources", "--api-group=conformance.example.com", "--no-headers")
    }
    assert rows["gadgets"] == ["gad", "conformance.example.com/v1", "true", "Gadget"]

    rows = {row[0]: row[1:] for row in kubectl.rows("api-resources", "--namespaced=true", "--no-headers")}
    assert rows["pods"] == ["po", "v1", "true", "Pod"]
    versions = kubectl("api-versions").splitlines()
    assert {"v1", "apps/v1", "conformance.example.com/v1"} <= set(versions)
