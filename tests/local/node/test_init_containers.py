"""Init containers run one after the other; native sidecars stay."""

from __future__ import annotations

from tests.local.node.kit import (
    Cluster,
    a_pod,
    condition,
    container,
    is_over,
    is_ready,
    phase,
    state,
    status_of,
)


def shell(script: str, name: str = "main", **fields: object) -> dict[str, object]:
    return container("sh", "-c", script, name=name, **fields)


async def test_init_containers_run_in_order_before_the_others(cluster: Cluster) -> None:
    await cluster.add_node()
    init = [shell('echo first >> "$HOME/order"', "first"), shell('echo second >> "$HOME/order"', "second")]
    await cluster.create(a_pod("one", shell('cat "$HOME/order"'), initContainers=init, restartPolicy="Never"))
    pod = await cluster.until("one", is_over)
    assert phase(pod) == "Succeeded"
    assert await cluster.log("one") == "first\nsecond\n"
    assert [status["name"] for status in pod["status"]["initContainerStatuses"]] == ["first", "second"]
    assert all(status["ready"] for status in pod["status"]["initContainerStatuses"])


async def test_a_pod_is_pending_while_it_initializes(cluster: Cluster) -> None:
    await cluster.add_node()
    init = [shell('until test -e "$HOME/go"; do sleep 0.05; done', "wait")]
    await cluster.create(a_pod("one", container("sleep", "100"), initContainers=init))
    pod = await cluster.until("one", lambda pod: "running" in state(pod, "wait"))
    assert phase(pod) == "Pending"
    assert state(pod) == {"waiting": {"reason": "PodInitializing"}}
    assert condition(pod, "Initialized")["message"] == "containers with incomplete status: [wait]"
    await cluster.server.kubelets["local"].exec(pod, "wait", ["sh", "-c", 'touch "$HOME/go"'], b"")
    await cluster.until("one", is_ready)


async def test_a_failing_init_container_is_tried_again(cluster: Cluster) -> None:
    await cluster.add_node()
    script = 'echo run >> "$HOME/runs"; test $(wc -l < "$HOME/runs") -ge 3'
    await cluster.create(a_pod("one", container("sleep", "100"), initContainers=[shell(script, "init")]))
    pod = await cluster.until("one", is_ready)
    assert status_of(pod, "init")["restartCount"] == 2


async def test_a_failing_init_container_fails_a_pod_that_never_restarts(cluster: Cluster) -> None:
    await cluster.add_node()
    init = [shell("exit 1", "init")]
    await cluster.create(a_pod("one", container("true"), initContainers=init, restartPolicy="Never"))
    pod = await cluster.until("one", is_over)
    assert phase(pod) == "Failed"
    assert state(pod) == {"waiting": {"reason": "PodInitializing"}}


async def test_a_sidecar_starts_first_and_ends_with_the_pod(cluster: Cluster) -> None:
    await cluster.add_node()
    sidecar = shell('touch "$HOME/up"; exec sleep 100', "sidecar", restartPolicy="Always")
    sidecar["startupProbe"] = {"exec": {"command": ["sh", "-c", 'test -e "$HOME/up"']}, "periodSeconds": 1}
    await cluster.create(
        a_pod("one", shell('test -e "$HOME/up"'), initContainers=[sidecar], restartPolicy="Never")
    )
    pod = await cluster.until("one", is_over)
    assert phase(pod) == "Succeeded"
    assert state(pod, "sidecar")["terminated"]["exitCode"] == 143


async def test_a_sidecar_restarts_and_counts_for_readiness(cluster: Cluster) -> None:
    await cluster.add_node()
    script = 'test -e "$HOME/second" && exec sleep 100; touch "$HOME/second"'
    sidecar = shell(script, "sidecar", restartPolicy="Always")
    await cluster.create(a_pod("one", container("sleep", "100"), initContainers=[sidecar]))
    pod = await cluster.until(
        "one", lambda pod: is_ready(pod) and status_of(pod, "sidecar")["restartCount"] == 1
    )
    assert phase(pod) == "Running"
    await cluster.delete("one")
    await cluster.until_gone("one")
