"""Nodes that are cordoned, tainted and drained, and the pods that this keeps away or sends away.

https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.kubectl import Kubectl
from tests.conformance.pods import FOREVER, Pods
from tests.conformance.waiting import condition_is
from tests.harness.kube import Kube, Object
from tests.harness.nodes import FAKE, FakeNode, on_fake_nodes

CORDONED = "node.kubernetes.io/unschedulable"
MAINTENANCE = "conformance.example.com/maintenance"


@pytest.fixture(scope="module")
def own_node(kube: Kube) -> Iterator[FakeNode]:
    """A node for these tests alone."""
    with FakeNode(kube, "conformance") as found:
        yield found


@pytest.fixture
def node(kube: Kube, own_node: FakeNode) -> Iterator[str]:
    """Its name; whatever a test did to it is undone."""
    yield own_node.name
    own = {"key": FAKE, "value": "true", "effect": "NoSchedule"}
    kube.patch("nodes", own_node.name, {"spec": {"unschedulable": None, "taints": [own]}})
    kube.wait("nodes", own_node.name, until=lambda body: keys(body) == {FAKE})


def keys(node: Object) -> set[str]:
    return {taint["key"] for taint in node["spec"].get("taints") or []}


def run(pods: Pods, node: str, *tolerations: Object, **spec: Any) -> str:
    """Create a pod for that node."""
    only = {"nodeSelector": {"kubernetes.io/hostname": node}, "tolerations": list(tolerations), **spec}
    return pods.run(FOREVER, **on_fake_nodes(only))


def is_refused(pods: Pods, name: str) -> str:
    pod = pods.wait(name, lambda pod: condition_is(pod, "PodScheduled", "False", "Unschedulable"))
    return next(one["message"] for one in pod["status"]["conditions"] if one["type"] == "PodScheduled")


def taint(kube: Kube, node: str, effect: str) -> None:
    kept = kube.get("nodes", node)["spec"]["taints"]
    added = {"key": MAINTENANCE, "value": "soon", "effect": effect}
    kube.patch("nodes", node, {"spec": {"taints": [*kept, added]}})


def tolerate(**more: Any) -> Object:
    return {"key": MAINTENANCE, "operator": "Exists", **more}


def test_a_cordoned_node_takes_no_pods_and_keeps_those_that_it_has(
    kube: Kube, pods: Pods, node: str, kubectl: Kubectl
) -> None:
    before = run(pods, node)
    pods.ready(before)

    kubectl("cordon", node)
    kube.wait("nodes", node, until=lambda body: CORDONED in keys(body))
    late = run(pods, node)
    tolerant = run(pods, node, {"key": CORDONED, "operator": "Exists", "effect": "NoSchedule"})

    pods.ready(tolerant)
    assert "node(s) were unschedulable" in is_refused(pods, late)
    assert "deletionTimestamp" not in kube.get("pods", before, pods.namespace)["metadata"]
    kubectl("uncordon", node)
    kube.wait("nodes", node, until=lambda body: CORDONED not in keys(body))
    pods.ready(late)


def test_a_taint_keeps_pods_away_that_do_not_tolerate_it(kube: Kube, pods: Pods, node: str) -> None:
    before = run(pods, node)
    pods.ready(before)

    taint(kube, node, "NoSchedule")
    late, tolerant = run(pods, node), run(pods, node, tolerate(effect="NoSchedule"))

    pods.ready(tolerant)
    assert "untolerated taint" in is_refused(pods, late)
    assert "deletionTimestamp" not in kube.get("pods", before, pods.namespace)["metadata"]


def test_a_taint_may_be_a_preference(kube: Kube, pods: Pods, node: str) -> None:
    taint(kube, node, "PreferNoSchedule")

    pods.ready(run(pods, node))


def test_a_taint_sends_pods_away_that_do_not_tolerate_it(kube: Kube, pods: Pods, node: str) -> None:
    evicted, patient, tolerant = (
        run(pods, node, *tolerations)
        for tolerations in (
            [],
            [tolerate(effect="NoExecute", tolerationSeconds=3)],
            [tolerate(effect="NoExecute")],
        )
    )
    for name in (evicted, patient, tolerant):
        pods.ready(name)

    taint(kube, node, "NoExecute")

    kube.gone("pods", evicted, pods.namespace)
    pods.event(evicted, "TaintManagerEviction")
    assert "deletionTimestamp" not in kube.get("pods", tolerant, pods.namespace)["metadata"]
    kube.gone("pods", patient, pods.namespace)
    assert "deletionTimestamp" not in kube.get("pods", tolerant, pods.namespace)["metadata"]


def test_a_drain_cordons_and_evicts_what_it_selects(
    kube: Kube, pods: Pods, node: str, kubectl: Kubectl
) -> None:
    taken, left = run(pods, node), run(pods, node)
    for name in (taken, left):
        pods.ready(name)

    kubectl("drain", node, f"--pod-selector=app={taken}", "--force", "--timeout=120s")

    assert kube.find("pods", taken, pods.namespace) is None
    assert "deletionTimestamp" not in kube.get("pods", left, pods.namespace)["metadata"]
    assert kube.get("nodes", node)["spec"]["unschedulable"] is True


def test_pods_may_be_spread_over_the_nodes_that_take_them(
    kube: Kube, pods: Pods, node: str, kubectl: Kubectl
) -> None:
    """A node that is cordoned counts as one without pods, unless that is said otherwise."""
    group = {"app": "spread"}
    with FakeNode(kube, "conformance-other") as other:
        spread = {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": group},
        }
        kubectl("cordon", node)

        def two(policy: str, number: int) -> list[str]:
            constraint = {**spread, "nodeTaintsPolicy": policy}
            metadata = [{"name": f"spread-{policy.lower()}-{one}", "labels": group} for one in range(number)]
            spec = on_fake_nodes({"topologySpreadConstraints": [constraint]})
            return [pods.run(FOREVER, metadata=one, **spec) for one in metadata]

        for name in two("Honor", 2):
            assert pods.ready(name)["spec"]["nodeName"] == other.name
        (name,) = two("Ignore", 1)
        assert "didn't match pod topology spread constraints" in is_refused(pods, name)
