"""Pods are bound to nodes that can take them; others wait and say why."""

from __future__ import annotations

from dask_k8s_local.node import Node
from tests.local.node.kit import World, a_pod, condition, container, is_ready

SMALL = {"cpu": 1, "memory": "1Gi", "pods": 10}


def requests(**quantities: str) -> dict[str, dict[str, dict[str, str]]]:
    return {"resources": {"requests": quantities}}


def reason(pod: dict[str, object]) -> str:
    return str(condition(pod, "PodScheduled").get("reason"))


async def message(world: World, name: str) -> str:
    pod = await world.until(name, lambda pod: condition(pod, "PodScheduled").get("status") == "False")
    assert reason(pod) == "Unschedulable"
    return str(condition(pod, "PodScheduled")["message"])


async def test_a_pod_that_is_too_large_waits(world: World) -> None:
    await world.add_scale_node(Node(name="small", capacity=SMALL))
    await world.create(a_pod("big", container("true", **requests(memory="2Gi"))))
    assert await message(world, "big") == (
        "0/1 nodes are available: 1 Insufficient memory. preemption: "
        "0/1 nodes are available: 1 Preemption is not helpful for scheduling."
    )
    event = await world.until_event("big", "FailedScheduling")
    assert event["message"].startswith("0/1 nodes are available: 1 Insufficient memory.")
    assert event["type"] == "Warning"


async def test_a_pod_waits_for_room_and_takes_it_when_another_goes(world: World) -> None:
    await world.add_scale_node(Node(name="small", capacity=SMALL))
    await world.create(a_pod("first", container("true", **requests(cpu="600m"))))
    await world.until("first", is_ready)
    await world.create(a_pod("second", container("true", **requests(cpu="600m"))))
    assert await message(world, "second") == (
        "0/1 nodes are available: 1 Insufficient cpu. preemption: "
        "0/1 nodes are available: 1 No preemption victims found for incoming pod."
    )
    await world.delete("first")
    await world.until("second", is_ready)


async def test_a_pod_waits_for_a_node(world: World) -> None:
    await world.create(a_pod("one", container("true")))
    assert await message(world, "one") == "no nodes available to schedule pods"
    await world.add_scale_node()
    await world.until("one", is_ready)


async def test_selectors_taints_and_extended_resources_choose_the_node(world: World) -> None:
    taint = {"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}
    gpu = Node(name="gpu", labels={"disktype": "ssd"}, taints=[taint], capacity={"nvidia.com/gpu": 1})
    await world.add_scale_node(gpu)
    await world.add_scale_node(Node(name="plain"))
    tolerant = {"tolerations": [{"key": "dedicated", "operator": "Exists"}]}
    wants_gpu = {"resources": {"limits": {"nvidia.com/gpu": 1}}}
    await world.create(a_pod("plain", container("true")))
    await world.create(a_pod("ssd", container("true"), nodeSelector={"disktype": "ssd"}, **tolerant))
    await world.create(a_pod("intolerant", container("true"), nodeSelector={"disktype": "ssd"}))
    await world.create(a_pod("gpu", container("true", **wants_gpu), **tolerant))
    assert (await world.until("plain", is_ready))["spec"]["nodeName"] == "plain"
    assert (await world.until("ssd", is_ready))["spec"]["nodeName"] == "gpu"
    assert (await world.until("gpu", is_ready))["spec"]["nodeName"] == "gpu"
    assert (await message(world, "intolerant")).startswith(
        "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, "
        "1 node(s) had untolerated taint {dedicated: gpu}."
    )
    await world.create(a_pod("second-gpu", container("true", **wants_gpu), **tolerant))
    assert "Insufficient nvidia.com/gpu" in await message(world, "second-gpu")


async def test_required_node_affinity_is_heeded(world: World) -> None:
    await world.add_scale_node(Node(name="a", labels={"zone": "a", "disks": "4"}))
    await world.add_scale_node(Node(name="b", labels={"zone": "b", "disks": "8"}))

    def affinity(key: str, operator: str, *values: str) -> dict[str, object]:
        expression = {"key": key, "operator": operator, **({"values": list(values)} if values else {})}
        terms = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
        return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}}

    await world.create(a_pod("in", container("true"), **affinity("zone", "In", "b", "c")))
    await world.create(a_pod("not-in", container("true"), **affinity("zone", "NotIn", "b")))
    await world.create(a_pod("more", container("true"), **affinity("disks", "Gt", "5")))
    await world.create(a_pod("exists", container("true"), **affinity("gpu", "Exists")))
    assert (await world.until("in", is_ready))["spec"]["nodeName"] == "b"
    assert (await world.until("not-in", is_ready))["spec"]["nodeName"] == "a"
    assert (await world.until("more", is_ready))["spec"]["nodeName"] == "b"
    assert "2 node(s) didn't match Pod's node affinity/selector" in await message(world, "exists")


async def test_a_gated_pod_is_left_alone_until_its_gates_are_gone(world: World) -> None:
    await world.add_scale_node()
    await world.create(a_pod("gated", container("true"), schedulingGates=[{"name": "example.org/wait"}]))
    await world.create(a_pod("free", container("true")))
    await world.until("free", is_ready)
    assert not (await world.pod("gated"))["spec"].get("nodeName")
    await world.api.patch("pods", "default", "gated", {"spec": {"schedulingGates": None}})
    await world.until("gated", is_ready)


async def test_too_many_pods_wait(world: World) -> None:
    await world.add_scale_node(Node(name="small", capacity={"pods": 2}))
    for name in ("one", "two", "three"):
        await world.create(a_pod(name, container("true")))
    assert "1 Too many pods" in await message(world, "three")


async def test_a_cordoned_node_takes_no_pods(world: World) -> None:
    await world.add_scale_node(Node(name="closed"))
    await world.api.patch("nodes", None, "closed", {"spec": {"unschedulable": True}})
    await world.create(a_pod("one", container("true")))
    assert "1 node(s) were unschedulable" in await message(world, "one")
    await world.api.patch("nodes", None, "closed", {"spec": {"unschedulable": None}})
    await world.until("one", is_ready)


async def test_the_more_important_pod_comes_first(world: World) -> None:
    await world.create(a_pod("low", container("true", **requests(cpu="1"))))
    await world.create(
        a_pod("high", container("true", **requests(cpu="1")), priorityClassName="system-node-critical")
    )
    await world.add_scale_node(Node(name="small", capacity=SMALL))
    await world.until("high", is_ready)
    assert not (await world.pod("low"))["spec"].get("nodeName")


async def test_pods_spread_over_equal_nodes(world: World) -> None:
    for name in ("a", "b", "c"):
        await world.add_scale_node(Node(name=name))
    for number in range(6):
        await world.create(a_pod(f"pod-{number}", container("true")))
    nodes = [(await world.until(f"pod-{number}", is_ready))["spec"]["nodeName"] for number in range(6)]
    assert sorted(nodes) == ["a", "a", "b", "b", "c", "c"]


def together(kind: str, key: str, **labels: str) -> dict[str, object]:
    term = {"topologyKey": key, "labelSelector": {"matchLabels": labels}}
    return {"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}


async def test_pods_keep_apart_if_they_want_to(world: World) -> None:
    for name in ("a", "b"):
        await world.add_scale_node(Node(name=name))
    apart = together("podAntiAffinity", "kubernetes.io/hostname", role="worker")
    for name in ("one", "two", "three"):
        await world.create(a_pod(name, container("true"), labels={"role": "worker"}, **apart))
    nodes = {(await world.until(name, is_ready))["spec"]["nodeName"] for name in ("one", "two")}
    assert nodes == {"a", "b"}
    assert "2 node(s) didn't match pod anti-affinity rules" in await message(world, "three")
    await world.create(a_pod("meek", container("true"), labels={"role": "worker"}))
    assert "2 node(s) didn't satisfy existing pods anti-affinity rules" in await message(world, "meek")


async def test_pods_keep_together_if_they_want_to(world: World) -> None:
    for name in ("a", "b"):
        await world.add_scale_node(Node(name=name, labels={"zone": name}))
    await world.create(a_pod("first", container("true"), **together("podAffinity", "zone", app="first")))
    home = (await world.until("first", is_ready))["spec"]["nodeName"]
    for number in range(3):
        name = f"follower-{number}"
        await world.create(a_pod(name, container("true"), **together("podAffinity", "zone", app="first")))
        assert (await world.until(name, is_ready))["spec"]["nodeName"] == home
    await world.create(a_pod("lonely", container("true"), **together("podAffinity", "zone", app="nobody")))
    assert "2 node(s) didn't match pod affinity rules" in await message(world, "lonely")


async def test_pods_are_spread_as_asked(world: World) -> None:
    await world.add_scale_node(Node(name="a", labels={"zone": "a"}))
    await world.add_scale_node(Node(name="b", labels={"zone": "b"}, capacity={"pods": 1}))
    constraint = {
        "topologyKey": "zone",
        "maxSkew": 1,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"role": "worker"}},
    }
    for number in range(3):
        spread = {"topologySpreadConstraints": [constraint], "labels": {"role": "worker"}}
        await world.create(a_pod(f"pod-{number}", container("true"), **spread))
        await world.until(f"pod-{number}", is_ready)
    await world.create(a_pod("last", container("true"), **spread))
    assert await message(world, "last") == (
        "0/2 nodes are available: 1 Too many pods, 1 node(s) didn't match pod topology spread constraints. "
        "preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, "
        "1 Preemption is not helpful for scheduling."
    )
