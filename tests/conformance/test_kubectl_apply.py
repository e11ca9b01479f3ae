"""Manifests sent with kubectl: apply, diff, create, replace, edit.

https://kubernetes.io/docs/reference/kubectl/
"""

from __future__ import annotations

import pytest
import yaml

from tests.conformance.gadgets import GADGETS, gadget
from tests.conformance.kubectl import Kubectl, KubectlFailed
from tests.conformance.manifests import config_map, service
from tests.harness.kube import Kube

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def test_apply_creates_changes_and_leaves_alone(kubectl: Kubectl, name: str) -> None:
    manifest = gadget(name)
    for size, word in (("M", "created"), ("L", "configured"), ("L", "unchanged")):
        manifest["spec"]["size"] = size
        written = kubectl("apply", "-f", "-", stdin=manifest)
        assert written == f"gadget.conformance.example.com/{name} {word}\n"
    assert LAST_APPLIED in kubectl.json("get", "gadget", name)["metadata"]["annotations"]


def test_apply_takes_away_what_the_manifest_no_longer_has(kubectl: Kubectl, kube: Kube, name: str) -> None:
    kubectl("apply", "-f", "-", stdin=config_map(name, {"a": "1", "b": "2"}))
    kube.patch("configmaps", name, {"data": {"c": "3"}}, kubectl.namespace)

    kubectl("apply", "-f", "-", stdin=config_map(name, {"a": "1"}))

    assert kube.get("configmaps", name, kubectl.namespace)["data"] == {"a": "1", "c": "3"}


def test_apply_merges_lists_of_kubernetes_own_kinds(kubectl: Kubectl, kube: Kube, name: str) -> None:
    manifest = service(name, {"app": name}, {"port": 80, "name": "http"})
    kubectl("apply", "-f", "-", stdin=manifest)
    manifest["spec"]["ports"] += [{"port": 443, "name": "https"}]

    kubectl("apply", "-f", "-", stdin=manifest)

    ports = kube.get("services", name, kubectl.namespace)["spec"]["ports"]
    assert [port["port"] for port in ports] == [80, 443]


def test_apply_refuses_what_is_unknown(kubectl: Kubectl, name: str) -> None:
    with pytest.raises(KubectlFailed, match=r'unknown field "spec\.colour"'):
        kubectl("apply", "-f", "-", stdin=gadget(name, colour="blue"))
    with pytest.raises(KubectlFailed, match='no matches for kind "Gidget"'):
        kubectl("apply", "-f", "-", stdin={**gadget(name), "kind": "Gidget"})


def test_apply_tells_all_that_is_invalid(kubectl: Kubectl, name: str) -> None:
    with pytest.raises(KubectlFailed) as failed:
        kubectl("apply", "-f", "-", stdin=gadget(name, size="XXL", replicas=11))

    assert f'The Gadget "{name}" is invalid:' in str(failed.value)
    assert '* spec.size: Unsupported value: "XXL": supported values: "S", "M", "L"' in str(failed.value)
    assert "* spec.replicas: Invalid value: 11:" in str(failed.value)


def test_apply_takes_many_manifests(kubectl: Kubectl, name: str) -> None:
    manifests = [config_map(f"{name}-1"), gadget(f"{name}-2")]

    written = kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(manifests))

    assert written.splitlines() == [
        f"configmap/{name}-1 created",
        f"gadget.conformance.example.com/{name}-2 created",
    ]


def test_apply_may_be_a_dry_run(kubectl: Kubectl, kube: Kube, name: str) -> None:
    written = kubectl("apply", "--dry-run=server", "-f", "-", stdin=gadget(name))

    assert written == f"gadget.conformance.example.com/{name} created (server dry run)\n"
    assert kube.find(GADGETS, name, kubectl.namespace) is None


def test_server_side_apply_owns_and_conflicts(kubectl: Kubectl, kube: Kube, name: str) -> None:
    apply = ("apply", "--server-side", "-f", "-")
    written = kubectl(*apply, stdin=gadget(name, replicas=2))
    assert written == f"gadget.conformance.example.com/{name} serverside-applied\n"
    kube.patch(GADGETS, name, {"spec": {"replicas": 3}}, kubectl.namespace, fieldManager="someone")

    with pytest.raises(KubectlFailed, match='Apply failed with 1 conflict: conflict with "someone"'):
        kubectl(*apply, stdin=gadget(name, replicas=2))
    kubectl(*apply, "--force-conflicts", stdin=gadget(name, replicas=2))

    assert kube.get(GADGETS, name, kubectl.namespace)["spec"]["replicas"] == 2


def test_an_apply_may_move_to_the_server(kubectl: Kubectl, kube: Kube, name: str) -> None:
    kubectl("apply", "-f", "-", stdin=config_map(name, {"a": "1", "b": "2"}))

    kubectl("apply", "--server-side", "-f", "-", stdin=config_map(name, {"a": "1"}))

    assert kube.get("configmaps", name, kubectl.namespace)["data"] == {"a": "1"}


def test_diff_shows_what_an_apply_would_change(kubectl: Kubectl, name: str) -> None:
    kubectl("apply", "-f", "-", stdin=gadget(name))
    assert kubectl("diff", "-f", "-", stdin=gadget(name)) == ""

    for how in ((), ("--server-side", "--force-conflicts")):
        with pytest.raises(KubectlFailed) as failed:
            kubectl("diff", *how, "-f", "-", stdin=gadget(name, size="L"))
        assert failed.value.code == 1
        assert "-  size: M\n+  size: L\n" in failed.value.stdout


def test_create_and_replace(kubectl: Kubectl, kube: Kube, name: str) -> None:
    kubectl("create", "-f", "-", stdin=config_map(name, {"a": "1"}))
    with pytest.raises(KubectlFailed, match="AlreadyExists"):
        kubectl("create", "-f", "-", stdin=config_map(name))

    kubectl("replace", "-f", "-", stdin=config_map(name, {"b": "2"}))

    assert kube.get("configmaps", name, kubectl.namespace)["data"] == {"b": "2"}


def test_edit_sends_what_the_editor_leaves(kubectl: Kubectl, kube: Kube, name: str) -> None:
    kube.create(gadget(name), kubectl.namespace)

    kubectl("edit", "gadget", name, KUBE_EDITOR="sed -i 's/size: M/size: L/'")

    assert kube.get(GADGETS, name, kubectl.namespace)["spec"]["size"] == "L"
