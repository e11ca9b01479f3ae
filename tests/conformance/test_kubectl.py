"""What people do with kubectl: scale, label, patch, delete, wait, logs, exec, rollout.

https://kubernetes.io/docs/reference/kubectl/
"""

from __future__ import annotations

import re

import pytest

from tests.conformance.gadgets import GADGETS, gadget
from tests.conformance.kubectl import Kubectl, KubectlFailed
from tests.conformance.manifests import config_map, owned_by, service
from tests.conformance.pods import FOREVER, Pods, shell
from tests.harness.kube import Kube, Object

STAY = "conformance.example.com/stay"


def deployment(pods: Pods, name: str) -> Object:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [pods.container(shell("echo started; exec sleep 3600"))],
                },
            },
        },
    }


def test_scale_changes_replicas(kubectl: Kubectl, kube: Kube, name: str) -> None:
    kube.create(gadget(name, replicas=1), kubectl.namespace)

    assert (
        kubectl("scale", "gadget", name, "--replicas=3") == f"gadget.conformance.example.com/{name} scaled\n"
    )
    assert kube.get(GADGETS, name, kubectl.namespace)["spec"]["replicas"] == 3
    with pytest.raises(KubectlFailed, match="Expected replicas to be 1, was 3"):
        kubectl("scale", "gadget", name, "--current-replicas=1", "--replicas=2")
    with pytest.raises(KubectlFailed, match="should be less than or equal to 10"):
        kubectl("scale", "gadget", name, "--replicas=11")


def test_label_and_annotate(kubectl: Kubectl, kube: Kube, name: str) -> None:
    kube.create(gadget(name), kubectl.namespace)

    kubectl("label", "gadget", name, "a=1", "b=2")
    with pytest.raises(KubectlFailed, match="already has a value"):
        kubectl("label", "gadget", name, "a=3")
    kubectl("label", "gadget", name, "a=3", "b-", "--overwrite")
    kubectl("annotate", "gadget", name, "example.com/note=two words")

    metadata = kube.get(GADGETS, name, kubectl.namespace)["metadata"]
    assert metadata["labels"] == {"a": "3"}
    assert metadata["annotations"] == {"example.com/note": "two words"}
    with pytest.raises(KubectlFailed, match="a valid label must be"):
        kubectl("label", "gadget", name, "c=two words")


def test_patch_of_each_type(kubectl: Kubectl, kube: Kube, name: str) -> None:
    kube.create(gadget(name), kubectl.namespace)
    kubectl("patch", "gadget", name, "--type=merge", "-p", '{"spec": {"size": "L"}}')
    kubectl(
        "patch", "gadget", name, "--type=json", "-p", '[{"op": "add", "path": "/spec/code", "value": "abc"}]'
    )
    kubectl(
        "patch",
        "gadget",
        name,
        "--subresource=status",
        "--type=merge",
        "-p",
        '{"status": {"phase": "Ready"}}',
    )
    found = kube.get(GADGETS, name, kubectl.namespace)
    assert (found["spec"]["size"], found["spec"]["code"], found["status"]["phase"]) == ("L", "abc", "Ready")
    with pytest.raises(KubectlFailed, match="is not supported by"):
        kubectl("patch", "gadget", name, "-p", '{"spec": {"size": "S"}}')

    kube.create(service(name, {}, {"port": 80, "name": "http"}), kubectl.namespace)
    kubectl("patch", "service", name, "-p", '{"spec": {"ports": [{"port": 443, "name": "https"}]}}')
    assert len(kube.get("services", name, kubectl.namespace)["spec"]["ports"]) == 2


# delete


def test_delete_waits_until_it_is_gone(kubectl: Kubectl, kube: Kube, name: str) -> None:
    kube.create(gadget(name), kubectl.namespace)

    written = kubectl("delete", "gadget", name)

    assert written == f'gadget.conformance.example.com "{name}" deleted\n' or name in written
    assert kube.find(GADGETS, name, kubectl.namespace) is None


def test_delete_waits_for_finalizers_or_not(kubectl: Kubectl, kube: Kube, name: str) -> None:
    kube.create(gadget(name, metadata={"finalizers": [STAY]}), kubectl.namespace)

    kubectl("delete", "gadget", name, "--wait=false")
    assert "deletionTimestamp" in kube.get(GADGETS, name, kubectl.namespace)["metadata"]
    with pytest.raises(KubectlFailed, match="timed out waiting for the condition"):
        kubectl("delete", "gadget", name, "--timeout=1s")
    with kubectl.lines("wait", "--for=delete", f"gadget/{name}", "--timeout=120s") as lines:
        kube.patch(GADGETS, name, {"metadata": {"finalizers": None}}, kubectl.namespace)
        # It says nothing if the object was gone before it looked.
        assert lines.read() in ("", f"gadget.conformance.example.com/{name} condition met\n")


def test_delete_cascades_as_told(kubectl: Kubectl, kube: Kube, name: str) -> None:
    for cascade in ("orphan", "foreground", "background"):
        owner = kube.create(config_map(f"{name}-{cascade}"), kubectl.namespace)
        kube.create(
            config_map(f"{name}-{cascade}-child", ownerReferences=owned_by(owner, block=True)),
            kubectl.namespace,
        )
        kubectl("delete", "configmap", f"{name}-{cascade}", f"--cascade={cascade}")

    orphan = kube.get("configmaps", f"{name}-orphan-child", kubectl.namespace)
    assert "ownerReferences" not in orphan["metadata"]
    assert kube.find("configmaps", f"{name}-foreground-child", kubectl.namespace) is None
    kube.gone("configmaps", f"{name}-background-child", kubectl.namespace)


def test_delete_selects(kubectl: Kubectl, kube: Kube, name: str) -> None:
    for number in range(2):
        kube.create(config_map(f"{name}-{number}", labels={"of": name}), kubectl.namespace)

    kubectl("delete", "configmaps", "-l", f"of={name}")

    assert kube.list("configmaps", kubectl.namespace, f"of={name}") == []
    with pytest.raises(KubectlFailed, match="not found"):
        kubectl("delete", "configmap", name)
    kubectl("delete", "configmap", name, "--ignore-not-found")


def test_delete_of_a_manifest(kubectl: Kubectl, kube: Kube, name: str) -> None:
    manifest = gadget(name)
    kubectl("apply", "-f", "-", stdin=manifest)

    kubectl("delete", "-f", "-", stdin=manifest)

    assert kube.find(GADGETS, name, kubectl.namespace) is None


def test_delete_of_a_pod_by_force(kubectl: Kubectl, pods: Pods) -> None:
    name = pods.run(FOREVER, terminationGracePeriodSeconds=600)
    pods.ready(name)

    kubectl("delete", "pod", name, "--force", "--grace-period=0")

    assert pods.kube.find("pods", name, pods.namespace) is None


# wait, logs, exec, rollout


def test_wait_for_conditions_and_fields(kubectl: Kubectl, kube: Kube, pods: Pods, name: str) -> None:
    pod = pods.run(FOREVER)
    assert (
        kubectl("wait", "--for=condition=Ready", f"pod/{pod}", "--timeout=120s")
        == f"pod/{pod} condition met\n"
    )
    kubectl("wait", "--for=jsonpath={.status.phase}=Running", f"pod/{pod}", "--timeout=120s")

    kube.create(gadget(name), kubectl.namespace)
    with pytest.raises(KubectlFailed, match="timed out waiting for the condition"):
        kubectl("wait", "--for=jsonpath={.status.phase}=Ready", f"gadget/{name}", "--timeout=1s")
    with kubectl.lines(
        "wait", "--for=jsonpath={.status.phase}=Ready", f"gadget/{name}", "--timeout=120s"
    ) as lines:
        kube.patch(GADGETS, name, {"status": {"phase": "Ready"}}, kubectl.namespace, subresource="status")
        assert lines.read() == f"gadget.conformance.example.com/{name} condition met\n"


def test_logs_are_shown_and_followed(kubectl: Kubectl, pods: Pods) -> None:
    name = pods.run(shell("for i in 1 2 3; do echo $i; done; sleep 1; echo 4"))
    pods.wait(name, lambda pod: pod["status"]["phase"] != "Pending")

    with kubectl.lines("logs", "-f", name) as lines:
        assert lines.read() == "1\n2\n3\n4\n"
    assert kubectl("logs", name) == "1\n2\n3\n4\n"
    assert kubectl("logs", name, "--tail=1") == "4\n"
    assert re.fullmatch(r"(\d{4}-\d\d-\d\dT\S+ \d\n){4}", kubectl("logs", name, "--timestamps"))


def test_logs_of_several_containers_and_pods(kubectl: Kubectl, pods: Pods, name: str) -> None:
    pod = pods.create(
        pods.container(shell("echo a"), name="a"),
        pods.container(shell("echo b"), name="b"),
        metadata={"labels": {"of": name}},
    )
    pods.finished(pod)

    assert kubectl("logs", pod, "-c", "b") == "b\n"
    assert sorted(kubectl("logs", pod, "--all-containers").split()) == ["a", "b"]
    assert sorted(kubectl("logs", "-l", f"of={name}", "--all-containers", "--prefix").splitlines()) == [
        f"[pod/{pod}/a] a",
        f"[pod/{pod}/b] b",
    ]
    with pytest.raises(KubectlFailed, match="container nobody is not valid for pod"):
        kubectl("logs", pod, "-c", "nobody")


def test_exec_runs_a_command(kubectl: Kubectl, pods: Pods) -> None:
    name = pods.run(FOREVER, container={"env": [{"name": "A", "value": "1"}]})
    pods.ready(name)

    assert kubectl("exec", name, "--", "sh", "-c", "echo $A") == "1\n"
    assert kubectl("exec", "-i", name, "--", "cat", stdin="hello") == "hello"
    with pytest.raises(KubectlFailed, match="exit code 3"):
        kubectl("exec", name, "--", "sh", "-c", "exit 3")


def test_rollouts_are_awaited_restarted_and_undone(
    kubectl: Kubectl, pods: Pods, kube: Kube, name: str
) -> None:
    kubectl("apply", "-f", "-", stdin=deployment(pods, name))
    status = ("rollout", "status", f"deployment/{name}", "--timeout=120s")
    assert "successfully rolled out" in kubectl(*status)
    assert kubectl("logs", f"deployment/{name}") == "started\n"

    kubectl("rollout", "restart", f"deployment/{name}")
    assert "successfully rolled out" in kubectl(*status)
    assert kube.get("deployments.apps", name, pods.namespace)["metadata"]["generation"] == 2
    kubectl("rollout", "undo", f"deployment/{name}")
    assert "successfully rolled out" in kubectl(*status)
    kubectl("scale", f"deployment/{name}", "--replicas=0")
    kubectl("wait", "--for=delete", "pod", "-l", f"app={name}", "--timeout=120s")


def test_the_servers_version(kubectl: Kubectl) -> None:
    assert re.search(r"^Server Version: v1\.\d+", kubectl("version"), re.MULTILINE)


# What follows is sent as protobuf.


def test_secrets_and_config_maps_are_made_in_short(kubectl: Kubectl, kube: Kube, name: str) -> None:
    credentials = ("--docker-server=registry.invalid", "--docker-username=me", "--docker-password=secret")
    kubectl("create", "secret", "docker-registry", name, *credentials)
    kubectl("create", "secret", "generic", f"{name}-2", "--from-literal=a=1")
    kubectl("create", "configmap", name, "--from-literal=a=1")

    assert kube.get("secrets", name, kubectl.namespace)["type"] == "kubernetes.io/dockerconfigjson"
    assert kube.get("secrets", f"{name}-2", kubectl.namespace)["data"] == {"a": "MQ=="}
    assert kube.get("configmaps", name, kubectl.namespace)["data"] == {"a": "1"}


def test_who_may_what(kubectl: Kubectl) -> None:
    assert kubectl("auth", "can-i", "create", "pods") == "yes\n"
    assert kubectl("auth", "whoami").split()[:2] == ["ATTRIBUTE", "VALUE"]
