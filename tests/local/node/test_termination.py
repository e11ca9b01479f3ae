"""Pods end as Kubernetes ends them: asked first, killed later, with all that they started."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import psutil

from dask_k8s_local.interfaces import LogOptions, Object
from tests.local.node.kit import Cluster, a_pod, container, is_ready, phase, state

IGNORES_SIGTERM = (
    "python",
    "-c",
    "import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True); signal.pause()",
)


async def log_has(cluster: Cluster, name: str, text: str) -> None:
    async def follow() -> None:
        pod = await cluster.pod(name)
        kubelet = cluster.server.kubelets[pod["spec"]["nodeName"]]
        async for chunk in kubelet.logs(pod, LogOptions("main", follow=True)):
            if text in chunk.decode():
                return

    await asyncio.wait_for(follow(), 20)


def processes_with(argument: str) -> list[psutil.Process]:
    running = psutil.process_iter(["cmdline"])
    return [process for process in running if argument in (process.info["cmdline"] or [])]


async def until(holds: Callable[[], bool], limit: float = 10.0) -> None:
    async with asyncio.timeout(limit):
        while not holds():  # noqa: ASYNC110 - the process table tells nobody when it changes
            await asyncio.sleep(0.01)


async def final_phase(cluster: Cluster, name: str) -> tuple[Object, float]:
    """Delete a pod; return how it was last, and the seconds that it took."""
    started = time.monotonic()
    last: Object = {}
    deleted = False
    async for event, pod in cluster.api.watch("pods", field_selector=f"metadata.name={name}"):
        if not deleted:
            deleted = True
            await cluster.delete(name)
        last = pod
        if event == "DELETED":
            return last, time.monotonic() - started
    raise AssertionError("the watch ended")


async def test_a_container_that_ends_when_asked_ends_at_once(cluster: Cluster) -> None:
    await cluster.add_node()
    await cluster.create(a_pod("one", container("sleep", "1000"), terminationGracePeriodSeconds=30))
    await cluster.until("one", is_ready)
    pod, seconds = await final_phase(cluster, "one")
    assert state(pod)["terminated"]["exitCode"] == 143
    assert phase(pod) == "Failed"
    assert seconds < 5
    assert ("Killing", "Stopping container main") in await cluster.events("one")


async def test_a_container_that_ignores_the_request_is_killed_after_its_grace(cluster: Cluster) -> None:
    await cluster.add_node()
    await cluster.create(a_pod("one", container(*IGNORES_SIGTERM), terminationGracePeriodSeconds=2))
    await cluster.until("one", is_ready)
    await log_has(cluster, "one", "up")
    pod, seconds = await final_phase(cluster, "one")
    assert state(pod)["terminated"]["exitCode"] == 137
    assert 2 <= seconds < 8


async def test_what_a_container_started_ends_with_it(cluster: Cluster) -> None:
    await cluster.add_node()
    # A process that left the container's session and whose parent has ended.
    script = "(setsid sleep 98765 &) ; sleep 98765 & exec sleep 98765"
    await cluster.create(a_pod("one", container("sh", "-c", script)))
    await cluster.until("one", is_ready)
    await until(lambda: len(processes_with("98765")) == 3)
    await cluster.delete("one")
    await cluster.until_gone("one")
    assert processes_with("98765") == []


async def test_what_a_container_started_ends_when_its_main_process_is_killed(cluster: Cluster) -> None:
    await cluster.add_node()
    script = "sleep 98764 & exec sleep 98765"
    await cluster.create(a_pod("one", container("sh", "-c", script), restartPolicy="Never"))
    await cluster.until("one", is_ready)
    await until(lambda: bool(processes_with("98764") and processes_with("98765")))
    (main,) = processes_with("98765")
    main.kill()
    pod = await cluster.until("one", lambda pod: phase(pod) == "Failed")
    assert state(pod)["terminated"]["exitCode"] == 137
    assert processes_with("98764") == []


async def test_pre_stop_runs_before_the_container_is_asked_to_end(cluster: Cluster) -> None:
    await cluster.add_node()
    hook = {"preStop": {"exec": {"command": ["sh", "-c", 'echo asked > "$HOME/flag"']}}}
    script = "trap 'cat \"$HOME/flag\"; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    await cluster.create(a_pod("one", container("sh", "-c", script, lifecycle=hook), restartPolicy="Never"))
    await cluster.until("one", is_ready)
    await log_has(cluster, "one", "up")
    following = asyncio.create_task(log_has(cluster, "one", "asked"))
    pod, _ = await final_phase(cluster, "one")
    await following
    assert phase(pod) == "Succeeded"


async def test_a_forced_deletion_does_not_wait(cluster: Cluster) -> None:
    await cluster.add_node()
    await cluster.create(a_pod("one", container(*IGNORES_SIGTERM), terminationGracePeriodSeconds=30))
    await cluster.until("one", is_ready)
    await log_has(cluster, "one", "up")
    await cluster.delete("one", grace_period_seconds=0)
    await cluster.until_gone("one")
    await until(lambda: not processes_with(IGNORES_SIGTERM[-1]))


async def test_the_name_can_be_used_again_at_once(cluster: Cluster) -> None:
    await cluster.add_node()
    for _ in range(3):
        await cluster.create(a_pod("one", container("sleep", "1000")))
        pod = await cluster.until("one", is_ready)
        await cluster.delete("one", uid=pod["metadata"]["uid"])
        await cluster.until_gone("one")


async def test_a_node_that_is_taken_away_leaves_the_pods_as_they_were(cluster: Cluster) -> None:
    agent = await cluster.add_node()
    await cluster.create(a_pod("one", container("sleep", "98763")))
    await cluster.until("one", is_ready)
    events = await cluster.events("one")
    await agent.stop()
    assert processes_with("98763") == []
    assert is_ready(await cluster.pod("one"))
    assert await cluster.events("one") == events
