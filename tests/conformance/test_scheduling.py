"""Where pods are bound, and why they aren't.

https://kubernetes.io/docs/concepts/scheduling-eviction/
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.pods import FOREVER, Pods
from tests.conformance.waiting import condition, condition_is
from tests.harness.kube import Object


def unschedulable(pods: Pods, **spec: Any) -> str:
    """Create a pod that no node takes and return why."""
    container = spec.pop("container", {})
    name = pods.run(FOREVER, container=container, **spec)
    pod = pods.wait(name, lambda pod: condition_is(pod, "PodScheduled", "False", "Unschedulable"))
    assert pod["status"]["phase"] == "Pending"
    assert "nodeName" not in pod["spec"]
    found = condition(pod, "PodScheduled")
    assert found is not None
    return found["message"]


def affinity(operator: str, *values: str, key: str = "kubernetes.io/os") -> Object:
    expression = {"key": key, "operator": operator, **({"values": list(values)} if values else {})}
    terms = [{"matchExpressions": [expression]}]
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}


def test_labels_that_no_node_has(pods: Pods) -> None:
    message = unschedulable(pods, nodeSelector={"conformance.example.com/no": "node-has-this"})

    assert "nodes are available" in message
    assert "didn't match Pod's node affinity/selector" in message


def test_more_than_any_node_has(pods: Pods) -> None:
    message = unschedulable(pods, container={"resources": {"requests": {"cpu": "10k"}}})

    assert "Insufficient cpu" in message


def test_devices_that_no_node_has(pods: Pods) -> None:
    devices = {"conformance.example.com/device": 1}
    message = unschedulable(pods, container={"resources": {"limits": devices, "requests": devices}})

    assert "Insufficient conformance.example.com/device" in message


def test_it_is_told_by_an_event(pods: Pods) -> None:
    name = pods.run(FOREVER, nodeSelector={"conformance.example.com/no": "node-has-this"})

    event = pods.event(name, "FailedScheduling")
    assert event["type"] == "Warning"
    assert "nodes are available" in event["message"]


def test_a_pod_is_bound_when_it_fits_again(pods: Pods) -> None:
    """Gates hold a pod; the last that goes lets it be scheduled."""
    gates = [{"name": "conformance.example.com/one"}, {"name": "conformance.example.com/two"}]
    name = pods.run(FOREVER, schedulingGates=gates)
    pod = pods.wait(name, lambda pod: condition_is(pod, "PodScheduled", "False", "SchedulingGated"))
    assert "nodeName" not in pod["spec"]

    pods.kube.patch("pods", name, {"spec": {"schedulingGates": gates[:1]}}, pods.namespace)
    pods.kube.patch("pods", name, {"spec": {"schedulingGates": None}}, pods.namespace)

    pods.ready(name)


def test_labels_that_a_node_has(pods: Pods) -> None:
    node = pods.kube.get("nodes", pods.ready(pods.run(FOREVER))["spec"]["nodeName"])
    label = {"kubernetes.io/hostname": node["metadata"]["labels"]["kubernetes.io/hostname"]}

    pod = pods.ready(pods.run(FOREVER, nodeSelector=label))

    assert pod["spec"]["nodeName"] == node["metadata"]["name"]


@pytest.mark.parametrize(
    ("fits", "wanted"),
    [
        (True, affinity("In", "linux", "plan9")),
        (True, affinity("NotIn", "plan9")),
        (True, affinity("Exists")),
        (False, affinity("In", "plan9")),
        (False, affinity("DoesNotExist")),
        (False, affinity("Exists", key="conformance.example.com/no")),
    ],
)
def test_affinity_is_to_expressions(pods: Pods, fits: bool, wanted: Object) -> None:
    name = pods.run(FOREVER, affinity=wanted)

    pod = pods.wait(name, lambda pod: condition(pod, "PodScheduled"))
    if fits:
        pods.ready(name)
    else:
        pods.wait(name, lambda pod: condition_is(pod, "PodScheduled", "False", "Unschedulable"))
        assert "nodeName" not in pod["spec"]


def test_another_scheduler_may_be_asked(pods: Pods) -> None:
    """The default one leaves such a pod alone."""
    name = pods.run(FOREVER, schedulerName="conformance.example.com")
    beside = pods.run(FOREVER)

    pods.ready(beside)
    pod = pods.kube.get("pods", name, pods.namespace)
    assert "nodeName" not in pod["spec"]
    assert condition(pod, "PodScheduled") is None


def test_a_pod_may_be_bound_by_its_name(pods: Pods) -> None:
    node = pods.ready(pods.run(FOREVER))["spec"]["nodeName"]

    name = pods.run(FOREVER, nodeName=node)

    assert pods.ready(name)["spec"]["nodeName"] == node


def test_an_unschedulable_pod_can_be_deleted(pods: Pods) -> None:
    name = pods.run(FOREVER, nodeSelector={"conformance.example.com/no": "node-has-this"})

    pods.kube.delete("pods", name, pods.namespace)

    assert pods.kube.find("pods", name, pods.namespace) is None
