"""Pods are bound to nodes that can take them; others wait and say why."""

from __future__ import annotations

from dask_k8s_local.node import Node
from tests.local.node.kit import Cluster, a_pod, condition, container, is_ready

SMALL = {"cpu": 1, "memory": "1Gi", "pods": 10}


def requests(**quantities: str) -> dict[str, dict[str, dict[str, str]]]:
    return {"resources": {"requests": quantities}}


def reason(pod: dict[str, object]) -> str:
    return str(condition(pod, "PodScheduled").get("reason"))


async def message(cluster: Cluster, name: str) -> str:
    pod = await cluster.until(name, lambda pod: condition(pod, "PodScheduled").get("status") == "False")
    assert reason(pod) == "Unschedulable"
    return str(condition(pod, "PodScheduled")["message"])


async def test_a_pod_that_is_too_large_waits(cluster: Cluster) -> None:
    await cluster.add_scale_node(Node(name="small", capacity=SMALL))
    await cluster.create(a_pod("big", container("true", **requests(memory="2Gi"))))
    assert await message(cluster, "big") == (
        "0/1 nodes are available: 1 Insufficient memory. preemption: "
        "0/1 nodes are available: 1 Preemption is not helpful for scheduling."
    )
    event = await cluster.until_event("big", "FailedScheduling")
    assert event["message"].startswith("0/1 nodes are available: 1 Insufficient memory.")
    assert event["type"] == "Warning"


async def test_a_pod_waits_for_room_and_takes_it_when_another_goes(cluster: Cluster) -> None:
    await cluster.add_scale_node(Node(name="small", capacity=SMALL))
    await cluster.create(a_pod("first", container("true", **requests(cpu="600m"))))
    await cluster.until("first", is_ready)
    await cluster.create(a_pod("second", container("true", **requests(cpu="600m"))))
    assert await message(cluster, "second") == (
        "0/1 nodes are available: 1 Insufficient cpu. preemption: "
        "0/1 nodes are available: 1 No preemption victims found for incoming pod."
    )
    await cluster.delete("first")
    await cluster.until("second", is_ready)


async def test_a_pod_waits_for_a_node(cluster: Cluster) -> None:
    await cluster.create(a_pod("one", container("true")))
    assert await message(cluster, "one") == "no nodes available to schedule pods"
    await cluster.add_scale_node()
    await cluster.until("one", is_ready)


async def test_selectors_taints_and_extended_resources_choose_the_node(cluster: Cluster) -> None:
    taint = {"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}
    gpu = Node(name="gpu", labels={"disktype": "ssd"}, taints=[taint], capacity={"nvidia.com/gpu": 1})
    await cluster.add_scale_node(gpu)
    await cluster.add_scale_node(Node(name="plain"))
    tolerant = {"tolerations": [{"key": "dedicated", "operator": "Exists"}]}
    wants_gpu = {"resources": {"limits": {"nvidia.com/gpu": 1}}}
    await cluster.create(a_pod("plain", container("true")))
    await cluster.create(a_pod("ssd", container("true"), nodeSelector={"disktype": "ssd"}, **tolerant))
    await cluster.create(a_pod("intolerant", container("true"), nodeSelector={"disktype": "ssd"}))
    await cluster.create(a_pod("gpu", container("true", **wants_gpu), **tolerant))
    assert (await cluster.until("plain", is_ready))["spec"]["nodeName"] == "plain"
    assert (await cluster.until("ssd", is_ready))["spec"]["nodeName"] == "gpu"
    assert (await cluster.until("gpu", is_ready))["spec"]["nodeName"] == "gpu"
    assert (await message(cluster, "intolerant")).startswith(
        "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, "
        "1 node(s) had untolerated taint {dedicated: gpu}."
    )
    await cluster.create(a_pod("second-gpu", container("true", **wants_gpu), **tolerant))
    assert "Insufficient nvidia.com/gpu" in await message(cluster, "second-gpu")


async def test_required_node_affinity_is_heeded(cluster: Cluster) -> None:
    await cluster.add_scale_node(Node(name="a", labels={"zone": "a", "disks": "4"}))
    await cluster.add_scale_node(Node(name="b", labels={"zone": "b", "disks": "8"}))

    def affinity(key: str, operator: str, *values: str) -> dict[str, object]:
        expression = {"key": key, "operator": operator, **({"values": list(values)} if values else {})}
        terms = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
        return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}}

    await cluster.create(a_pod("in", container("true"), **affinity("zone", "In", "b", "c")))
    await cluster.create(a_pod("not-in", container("true"), **affinity("zone", "NotIn", "b")))
    await cluster.create(a_pod("more", container("true"), **affinity("disks", "Gt", "5")))
    await cluster.create(a_pod("exists", container("true"), **affinity("gpu", "Exists")))
    assert (await cluster.until("in", is_ready))["spec"]["nodeName"] == "b"
    assert (await cluster.until("not-in", is_ready))["spec"]["nodeName"] == "a"
    assert (await cluster.until("more", is_ready))["spec"]["nodeName"] == "b"
    assert "2 node(s) didn't match Pod's node affinity/selector" in await message(cluster, "exists")


async def test_a_gated_pod_is_left_alone_until_its_gates_are_gone(cluster: Cluster) -> None:
    await cluster.add_scale_node()
    await cluster.create(a_pod("gated", container("true"), schedulingGates=[{"name": "example.org/wait"}]))
    await cluster.create(a_pod("free", container("true")))
    await cluster.until("free", is_ready)
    assert not (await cluster.pod("gated"))["spec"].get("nodeName")
    await cluster.api.patch("pods", "default", "gated", {"spec": {"schedulingGates": None}})
    await cluster.until("gated", is_ready)


async def test_too_many_pods_wait(cluster: Cluster) -> None:
    await cluster.add_scale_node(Node(name="small", capacity={"pods": 2}))
    for name in ("one", "two", "three"):
        await cluster.create(a_pod(name, container("true")))
    assert "1 Too many pods" in await message(cluster, "three")


async def test_a_cordoned_node_takes_no_pods(cluster: Cluster) -> None:
    await cluster.add_scale_node(Node(name="closed"))
    await cluster.api.patch("nodes", None, "closed", {"spec": {"unschedulable": True}})
    await cluster.create(a_pod("one", container("true")))
    assert "1 node(s) were unschedulable" in await message(cluster, "one")
    await cluster.api.patch("nodes", None, "closed", {"spec": {"unschedulable": None}})
    await cluster.until("one", is_ready)


async def test_the_more_important_pod_comes_first(cluster: Cluster) -> None:
    await cluster.create(a_pod("low", container("true", **requests(cpu="1"))))
    await cluster.create(
        a_pod("high", container("true", **requests(cpu="1")), priorityClassName="system-node-critical")
    )
    await cluster.add_scale_node(Node(name="small", capacity=SMALL))
    await cluster.until("high", is_ready)
    assert not (await cluster.pod("low"))["spec"].get("nodeName")


async def test_pods_spread_over_equal_nodes(cluster: Cluster) -> None:
    for name in ("a", "b", "c"):
        await cluster.add_scale_node(Node(name=name))
    for number in range(6):
        await cluster.create(a_pod(f"pod-{number}", container("true")))
    nodes = [(await cluster.until(f"pod-{number}", is_ready))["spec"]["nodeName"] for number in range(6)]
    assert sorted(nodes) == ["a", "a", "b", "b", "c", "c"]


def together(kind: str, key: str, **labels: str) -> dict[str, object]:
    term = {"topologyKey": key, "labelSelector": {"matchLabels": labels}}
    return {"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}


async def test_pods_keep_apart_if_they_want_to(cluster: Cluster) -> None:
    for name in ("a", "b"):
        await cluster.add_scale_node(Node(name=name))
    apart = together("podAntiAffinity", "kubernetes.io/hostname", role="worker")
    for name in ("one", "two", "three"):
        await cluster.create(a_pod(name, container("true"), labels={"role": "worker"}, **apart))
    nodes = {(await cluster.until(name, is_ready))["spec"]["nodeName"] for name in ("one", "two")}
    assert nodes == {"a", "b"}
    assert "2 node(s) didn't match pod anti-affinity rules" in await message(cluster, "three")
    await cluster.create(a_pod("meek", container("true"), labels={"role": "worker"}))
    assert "2 node(s) didn't satisfy existing pods anti-affinity rules" in await message(cluster, "meek")


async def test_pods_keep_together_if_they_want_to(cluster: Cluster) -> None:
    for name in ("a", "b"):
        await cluster.add_scale_node(Node(name=name, labels={"zone": name}))
    await cluster.create(a_pod("first", container("true"), **together("podAffinity", "zone", app="first")))
    home = (await cluster.until("first", is_ready))["spec"]["nodeName"]
    for number in range(3):
        name = f"follower-{number}"
        await cluster.create(a_pod(name, container("true"), **together("podAffinity", "zone", app="first")))
        assert (await cluster.until(name, is_ready))["spec"]["nodeName"] == home
    await cluster.create(a_pod("lonely", container("true"), **together("podAffinity", "zone", app="nobody")))
    assert "2 node(s) didn't match pod affinity rules" in await message(cluster, "lonely")


async def test_pods_are_spread_as_asked(cluster: Cluster) -> None:
    await cluster.add_scale_node(Node(name="a", labels={"zone": "a"}))
    await cluster.add_scale_node(Node(name="b", labels={"zone": "b"}, capacity={"pods": 1}))
    constraint = {
        "topologyKey": "zone",
        "maxSkew": 1,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"role": "worker"}},
    }
    for number in range(3):
        spread = {"topologySpreadConstraints": [constraint], "labels": {"role": "worker"}}
        await cluster.create(a_pod(f"pod-{number}", container("true"), **spread))
        await cluster.until(f"pod-{number}", is_ready)
    await cluster.create(a_pod("last", container("true"), **spread))
    assert await message(cluster, "last") == (
        "0/2 nodes are available: 1 Too many pods, 1 node(s) didn't match pod topology spread constraints. "
        "preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, "
        "1 Preemption is not helpful for scheduling."
    )
