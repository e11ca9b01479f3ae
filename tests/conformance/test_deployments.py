"""Deployments roll out what their template says.

https://kubernetes.io/docs/concepts/workloads/controllers/deployment/
"""

from __future__ import annotations

import pytest

from tests.conformance.manifests import causes
from tests.conformance.pods import FOREVER, Pods
from tests.conformance.waiting import condition, condition_is
from tests.harness.kube import Kube, Object, Refused

DEPLOYMENTS = "deployments.apps"
REPLICA_SETS = "replicasets.apps"


def deployment(
    pods: Pods, name: str, replicas: int = 1, *, command: list[str] = FOREVER, **spec: object
) -> Object:
    labels = {"app": name}
    container = pods.container(command, env=[{"name": "VERSION", "value": "1"}])
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
            },
            **spec,
        },
    }


def next_version(number: int) -> Object:
    env = [{"name": "VERSION", "value": str(number)}]
    return {"spec": {"template": {"spec": {"containers": [{"name": "main", "env": env}]}}}}


def is_rolled_out(found: Object, replicas: int = 1) -> bool:
    """As ``kubectl rollout status`` sees it."""
    status = found.get("status", {})
    return (
        status.get("observedGeneration") == found["metadata"]["generation"]
        and status.get("updatedReplicas", 0) == replicas
        and status.get("replicas", 0) == replicas
        and status.get("availableReplicas", 0) == replicas
    )


def replica_sets(kube: Kube, namespace: str, name: str) -> dict[str, Object]:
    """Return a deployment's replica sets by revision."""
    found = kube.list(REPLICA_SETS, namespace, f"app={name}")
    return {one["metadata"]["annotations"]["deployment.kubernetes.io/revision"]: one for one in found}


def test_a_deployment_has_defaults(kube: Kube, pods: Pods, name: str) -> None:
    manifest = deployment(pods, name, 0)
    del manifest["spec"]["replicas"]

    spec = kube.create(manifest, pods.namespace, dryRun="All")["spec"]

    assert spec["replicas"] == 1
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"},
    }
    assert spec["revisionHistoryLimit"] == 10
    assert spec["progressDeadlineSeconds"] == 600
    assert spec["template"]["spec"]["restartPolicy"] == "Always"


def test_a_deployment_becomes_available(kube: Kube, pods: Pods, name: str) -> None:
    kube.create(deployment(pods, name, 2), pods.namespace)

    found = kube.wait(DEPLOYMENTS, name, pods.namespace, until=lambda one: is_rolled_out(one, 2))
    assert found["status"]["readyReplicas"] == 2
    assert found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"
    found = kube.wait(
        DEPLOYMENTS,
        name,
        pods.namespace,
        until=lambda one: condition_is(one, "Progressing", reason="NewReplicaSetAvailable"),
    )
    assert condition_is(found, "Available", reason="MinimumReplicasAvailable")


def test_its_pods_belong_to_a_replica_set(kube: Kube, pods: Pods, name: str) -> None:
    uid = kube.create(deployment(pods, name), pods.namespace)["metadata"]["uid"]
    kube.wait(DEPLOYMENTS, name, pods.namespace, until=is_rolled_out)

    replica_set = replica_sets(kube, pods.namespace, name)["1"]
    [pod] = kube.list("pods", pods.namespace, f"app={name}")
    template_hash = replica_set["metadata"]["labels"]["pod-template-hash"]
    assert replica_set["metadata"]["name"] == f"{name}-{template_hash}"
    assert replica_set["metadata"]["ownerReferences"][0]["uid"] == uid
    assert replica_set["spec"]["selector"]["matchLabels"] == {"app": name, "pod-template-hash": template_hash}
    assert pod["metadata"]["labels"] == {"app": name, "pod-template-hash": template_hash}
    assert pod["metadata"]["name"].startswith(f"{name}-{template_hash}-")


def test_a_new_template_replaces_the_pods(kube: Kube, pods: Pods, name: str) -> None:
    kube.create(deployment(pods, name), pods.namespace)
    kube.wait(DEPLOYMENTS, name, pods.namespace, until=is_rolled_out)

    kube.patch(DEPLOYMENTS, name, next_version(2), pods.namespace, kind="strategic")

    found = kube.wait(DEPLOYMENTS, name, pods.namespace, until=is_rolled_out)
    assert found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
    revisions = replica_sets(kube, pods.namespace, name)
    assert {revision: one["spec"]["replicas"] for revision, one in revisions.items()} == {"1": 0, "2": 1}
    kube.wait_all("pods", pods.namespace, until=lambda all_: len(all_) == 1, labelSelector=f"app={name}")
    [pod] = kube.list("pods", pods.namespace, f"app={name}")
    assert pod["spec"]["containers"][0]["env"] == [{"name": "VERSION", "value": "2"}]


def test_an_old_template_brings_back_its_replica_set(kube: Kube, pods: Pods, name: str) -> None:
    kube.create(deployment(pods, name), pods.namespace)
    for version in (2, 1):
        kube.wait(DEPLOYMENTS, name, pods.namespace, until=is_rolled_out)
        kube.patch(DEPLOYMENTS, name, next_version(version), pods.namespace, kind="strategic")
    kube.wait(DEPLOYMENTS, name, pods.namespace, until=is_rolled_out)

    assert replica_sets(kube, pods.namespace, name).keys() == {"2", "3"}


def test_a_broken_template_leaves_the_old_pods_alone(kube: Kube, pods: Pods, name: str) -> None:
    kube.create(deployment(pods, name, progressDeadlineSeconds=2), pods.namespace)
    kube.wait(DEPLOYMENTS, name, pods.namespace, until=is_rolled_out)

    broken = {
        "spec": {
            "template": {"spec": {"containers": [{"name": "main", "image": "registry.invalid/broken:1"}]}}
        }
    }
    kube.patch(DEPLOYMENTS, name, broken, pods.namespace, kind="strategic")

    found = kube.wait(
        DEPLOYMENTS,
        name,
        pods.namespace,
        until=lambda one: condition_is(one, "Progressing", "False", "ProgressDeadlineExceeded"),
    )
    assert condition_is(found, "Available")
    assert found["status"]["readyReplicas"] == 1


def test_recreate_removes_the_old_pods_first(kube: Kube, pods: Pods, name: str) -> None:
    kube.create(deployment(pods, name, strategy={"type": "Recreate"}), pods.namespace)
    kube.wait(DEPLOYMENTS, name, pods.namespace, until=is_rolled_out)
    listing = kube.request("GET", kube.path("pods", pods.namespace))
    [old] = [
        one["metadata"]["name"]
        for one in listing["items"]
        if one["metadata"].get("labels", {}).get("app") == name
    ]

    kube.patch(DEPLOYMENTS, name, next_version(2), pods.namespace, kind="strategic")

    since = listing["metadata"]["resourceVersion"]
    ended: set[str] = set()
    for kind, pod in kube.watch("pods", pods.namespace, labelSelector=f"app={name}", resourceVersion=since):
        if pod["metadata"]["name"] == old:
            if kind == "DELETED" or pod["status"]["phase"] in ("Succeeded", "Failed"):
                ended.add(old)
        elif kind == "ADDED":
            assert ended == {old}
            return
    pytest.fail("no pod took the place of the old one")


def test_it_is_scaled_by_its_subresource(kube: Kube, pods: Pods, name: str) -> None:
    kube.create(deployment(pods, name), pods.namespace)
    kube.wait(DEPLOYMENTS, name, pods.namespace, until=is_rolled_out)

    scale = kube.get(DEPLOYMENTS, name, pods.namespace, "scale")
    assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert scale["spec"] == {"replicas": 1}
    assert scale["status"] == {"replicas": 1, "selector": f"app={name}"}
    kube.patch(DEPLOYMENTS, name, {"spec": {"replicas": 2}}, pods.namespace, subresource="scale")
    kube.wait(DEPLOYMENTS, name, pods.namespace, until=lambda one: is_rolled_out(one, 2))
    kube.patch(DEPLOYMENTS, name, {"spec": {"replicas": 0}}, pods.namespace, subresource="scale")
    kube.wait(DEPLOYMENTS, name, pods.namespace, until=lambda one: is_rolled_out(one, 0))


def test_pods_that_are_not_ready_are_not_available(kube: Kube, pods: Pods, name: str) -> None:
    manifest = deployment(pods, name)
    [container] = manifest["spec"]["template"]["spec"]["containers"]
    container["readinessProbe"] = {"exec": {"command": ["false"]}, "periodSeconds": 1}
    kube.create(manifest, pods.namespace)

    found = kube.wait(
        DEPLOYMENTS, name, pods.namespace, until=lambda one: one.get("status", {}).get("updatedReplicas") == 1
    )
    assert found["status"].get("availableReplicas", 0) == 0
    assert found["status"]["unavailableReplicas"] == 1
    found = kube.wait(DEPLOYMENTS, name, pods.namespace, until=lambda one: condition(one, "Available"))
    assert condition_is(found, "Available", "False", "MinimumReplicasUnavailable")


def test_its_pods_go_with_it(kube: Kube, pods: Pods, name: str) -> None:
    kube.create(deployment(pods, name), pods.namespace)
    kube.wait(DEPLOYMENTS, name, pods.namespace, until=is_rolled_out)

    kube.delete(DEPLOYMENTS, name, pods.namespace, propagationPolicy="Foreground")

    kube.gone(DEPLOYMENTS, name, pods.namespace)
    assert kube.list(REPLICA_SETS, pods.namespace, f"app={name}") == []


def test_a_paused_deployment_waits(kube: Kube, pods: Pods, name: str) -> None:
    kube.create(deployment(pods, name, paused=True), pods.namespace)
    kube.wait(
        DEPLOYMENTS,
        name,
        pods.namespace,
        until=lambda one: one.get("status", {}).get("observedGeneration") == 1,
    )
    assert kube.list("pods", pods.namespace, f"app={name}") == []

    kube.patch(DEPLOYMENTS, name, {"spec": {"paused": None}}, pods.namespace)
    kube.wait(DEPLOYMENTS, name, pods.namespace, until=is_rolled_out)


def test_the_selector_belongs_to_the_template_and_stays(kube: Kube, pods: Pods, name: str) -> None:
    manifest = deployment(pods, name, 0)
    manifest["spec"]["template"]["metadata"]["labels"] = {"app": "another"}
    with pytest.raises(Refused, match="`selector` does not match template `labels`") as refused:
        kube.create(manifest, pods.namespace)
    assert causes(refused.value.status) == {"spec.template.metadata.labels": "FieldValueInvalid"}

    kube.create(deployment(pods, name, 0), pods.namespace)
    labels = {"app": f"{name}-other"}
    change = {"spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}}}}
    with pytest.raises(Refused, match="field is immutable") as refused:
        kube.patch(DEPLOYMENTS, name, change, pods.namespace)
    assert causes(refused.value.status) == {"spec.selector": "FieldValueInvalid"}


def test_its_pods_always_restart(kube: Kube, pods: Pods, name: str) -> None:
    manifest = deployment(pods, name, 0)
    manifest["spec"]["template"]["spec"]["restartPolicy"] = "Never"

    with pytest.raises(Refused) as refused:
        kube.create(manifest, pods.namespace)

    assert causes(refused.value.status) == {"spec.template.spec.restartPolicy": "FieldValueNotSupported"}
