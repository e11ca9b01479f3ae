"""A ReplicaSet keeps as many pods as it is told to.

https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/
"""

from __future__ import annotations

from tests.conformance.manifests import waiting_pod
from tests.harness.kube import Kube, Object

REPLICA_SETS = "replicasets.apps"


def replica_set(name: str, replicas: int) -> Object:
    labels = {"app": name}
    pod = waiting_pod("")
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod["spec"]},
        },
    }


def wait_for_pods(kube: Kube, namespace: str, name: str, count: int) -> dict[str, Object]:
    def are_there(found: dict[str, Object]) -> bool:
        return len(found) == count and not any(
            "deletionTimestamp" in pod["metadata"] for pod in found.values()
        )

    return kube.wait_all("pods", namespace, until=are_there, labelSelector=f"app={name}")


def test_pods_are_made_and_owned(kube: Kube, namespace: str, name: str) -> None:
    created = kube.create(replica_set(name, 2), namespace)

    pods = wait_for_pods(kube, namespace, name, 2)

    for pod_name, pod in pods.items():
        assert pod_name.startswith(f"{name}-")
        assert pod["metadata"]["generateName"] == f"{name}-"
        assert pod["metadata"]["labels"] == {"app": name}
        assert pod["metadata"]["ownerReferences"] == [
            {
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "name": name,
                "uid": created["metadata"]["uid"],
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ]
    kube.wait(REPLICA_SETS, name, namespace, until=lambda found: found["status"].get("replicas") == 2)


def test_the_status_tells_what_was_observed(kube: Kube, namespace: str, name: str) -> None:
    kube.create(replica_set(name, 1), namespace)

    found = kube.wait(REPLICA_SETS, name, namespace, until=lambda found: found["status"].get("replicas") == 1)

    assert found["status"]["fullyLabeledReplicas"] == 1
    assert found["status"].get("readyReplicas", 0) == 0
    assert found["status"]["observedGeneration"] == found["metadata"]["generation"]


def test_a_lost_pod_is_replaced(kube: Kube, namespace: str, name: str) -> None:
    kube.create(replica_set(name, 1), namespace)
    [lost] = wait_for_pods(kube, namespace, name, 1)

    kube.delete("pods", lost, namespace)

    kube.wait_all(
        "pods",
        namespace,
        until=lambda found: len(found) == 1 and lost not in found,
        labelSelector=f"app={name}",
    )


def test_it_grows_and_shrinks(kube: Kube, namespace: str, name: str) -> None:
    kube.create(replica_set(name, 1), namespace)
    first = wait_for_pods(kube, namespace, name, 1)

    kube.patch(REPLICA_SETS, name, {"spec": {"replicas": 3}}, namespace, subresource="scale")
    assert first.keys() < wait_for_pods(kube, namespace, name, 3).keys()
    kube.patch(REPLICA_SETS, name, {"spec": {"replicas": 0}}, namespace)
    wait_for_pods(kube, namespace, name, 0)


def test_a_pod_without_an_owner_is_adopted(kube: Kube, namespace: str, name: str) -> None:
    orphan = waiting_pod(f"{name}-orphan")
    orphan["metadata"]["labels"] = {"app": name}
    kube.create(orphan, namespace)

    created = kube.create(replica_set(name, 1), namespace)

    found = kube.wait(
        "pods", f"{name}-orphan", namespace, until=lambda pod: pod["metadata"].get("ownerReferences")
    )
    assert found["metadata"]["ownerReferences"][0]["uid"] == created["metadata"]["uid"]
    kube.wait(REPLICA_SETS, name, namespace, until=lambda one: one["status"].get("replicas") == 1)
    wait_for_pods(kube, namespace, name, 1)


def test_a_pod_that_no_longer_matches_is_released(kube: Kube, namespace: str, name: str) -> None:
    kube.create(replica_set(name, 1), namespace)
    [released] = wait_for_pods(kube, namespace, name, 1)

    kube.patch("pods", released, {"metadata": {"labels": {"app": f"{name}-other"}}}, namespace)

    kube.wait("pods", released, namespace, until=lambda pod: "ownerReferences" not in pod["metadata"])
    wait_for_pods(kube, namespace, name, 1)


def test_pods_go_with_their_replica_set(kube: Kube, namespace: str, name: str) -> None:
    kube.create(replica_set(name, 2), namespace)
    wait_for_pods(kube, namespace, name, 2)

    kube.delete(REPLICA_SETS, name, namespace)

    wait_for_pods(kube, namespace, name, 0)


def test_pods_can_be_left_behind(kube: Kube, namespace: str, name: str) -> None:
    kube.create(replica_set(name, 1), namespace)
    [left] = wait_for_pods(kube, namespace, name, 1)

    kube.delete(REPLICA_SETS, name, namespace, propagationPolicy="Orphan")

    kube.gone(REPLICA_SETS, name, namespace)
    assert "ownerReferences" not in kube.get("pods", left, namespace)["metadata"]
