"""What people do with kubectl.

https://kubernetes.io/docs/reference/kubectl/
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.e2e.conformance.gadgets import GADGETS, gadget
from tests.e2e.conformance.kubectl import Kubectl, KubectlFailed
from tests.e2e.conformance.manifests import config_map, owned_by, service
from tests.e2e.conformance.pods import FOREVER, Pods, shell
from tests.e2e.conformance.waiting import eventually
from tests.harness.kube import Kube, Object

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
STAY = "conformance.example.com/stay"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@pytest.fixture(scope="module")
def kubectl(
    kubeconfig: Path, kube: Kube, namespace: str, gadgets: str, tmp_path_factory: pytest.TempPathFactory
) -> Kubectl:
    eventually(
        lambda: kube.request("GET", "/openapi/v3")["paths"],
        until=lambda found: "apis/conformance.example.com/v1" in found,
    )
    return Kubectl(kubeconfig, namespace, tmp_path_factory.mktemp("kubectl"))


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


# apply, diff, create, replace, edit


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


# get, describe, explain


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


# scale, label, annotate, patch


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
    with kubectl.lines("wait", "--for=delete", f"gadget/{name}", "--timeout=60s") as lines:
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
        kubectl("wait", "--for=condition=Ready", f"pod/{pod}", "--timeout=60s")
        == f"pod/{pod} condition met\n"
    )
    kubectl("wait", "--for=jsonpath={.status.phase}=Running", f"pod/{pod}", "--timeout=60s")

    kube.create(gadget(name), kubectl.namespace)
    with pytest.raises(KubectlFailed, match="timed out waiting for the condition"):
        kubectl("wait", "--for=jsonpath={.status.phase}=Ready", f"gadget/{name}", "--timeout=1s")
    with kubectl.lines(
        "wait", "--for=jsonpath={.status.phase}=Ready", f"gadget/{name}", "--timeout=60s"
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
    status = ("rollout", "status", f"deployment/{name}", "--timeout=60s")
    assert "successfully rolled out" in kubectl(*status)
    assert kubectl("logs", f"deployment/{name}") == "started\n"

    kubectl("rollout", "restart", f"deployment/{name}")
    assert "successfully rolled out" in kubectl(*status)
    assert kube.get("deployments.apps", name, pods.namespace)["metadata"]["generation"] == 2
    kubectl("rollout", "undo", f"deployment/{name}")
    assert "successfully rolled out" in kubectl(*status)
    kubectl("scale", f"deployment/{name}", "--replicas=0")
    kubectl("wait", "--for=delete", "pod", "-l", f"app={name}", "--timeout=60s")


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
