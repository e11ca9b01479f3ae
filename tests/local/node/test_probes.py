"""Probes decide when a container is ready, and when it must be restarted."""

from __future__ import annotations

from typing import Any

from tests.local.node.kit import Cluster, a_pod, container, phase, state, status_of

SOON = {"periodSeconds": 1}


def probe(kind: str, how: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return {kind: {**SOON, **how, **settings}}


def get(path: str = "/", port: int | str = 8000) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": port}}


def command(script: str) -> dict[str, Any]:
    return {"exec": {"command": ["sh", "-c", script]}}


async def test_a_refused_connection_is_told_in_kubelet_s_words(cluster: Cluster) -> None:
    await cluster.add_node(probe_scale=0.05)
    await cluster.create(a_pod("one", container("sleep", "100", **probe("readinessProbe", get("/health")))))
    event = await cluster.until_event("one", "Unhealthy")
    address = (await cluster.pod("one"))["status"]["podIP"]
    assert event["message"] == (
        f'Readiness probe failed: Get "http://{address}:8000/health": dial tcp {address}:8000: '
        "connect: connection refused"
    )
    assert event["involvedObject"]["fieldPath"] == "spec.containers{main}"


async def test_a_container_that_is_not_alive_is_restarted(cluster: Cluster) -> None:
    await cluster.add_node(probe_scale=0.05)
    probes = probe("livenessProbe", command("echo sick; exit 1"), failureThreshold=2)
    await cluster.create(a_pod("one", container("sleep", "100", **probes)))
    pod = await cluster.until("one", lambda pod: status_of(pod).get("restartCount", 0) >= 1)
    assert status_of(pod)["lastState"]["terminated"]["exitCode"] == 143
    events = await cluster.events("one")
    assert ("Unhealthy", "Liveness probe failed: sick\n") in events
    assert ("Killing", "Container main failed liveness probe, will be restarted") in events


async def test_a_probe_that_does_not_answer_in_time_fails(cluster: Cluster) -> None:
    await cluster.add_node(probe_scale=0.05)
    await cluster.create(
        a_pod("one", container("sleep", "100", **probe("readinessProbe", command("sleep 100"))))
    )
    event = await cluster.until_event("one", "Unhealthy")
    assert "timed out after 1s" in event["message"]


async def test_a_post_start_hook_that_fails_restarts_the_container(cluster: Cluster) -> None:
    await cluster.add_node()
    hook = {"postStart": {"exec": {"command": ["sh", "-c", "echo no; exit 1"]}}}
    await cluster.create(a_pod("one", container("sleep", "100", lifecycle=hook), restartPolicy="Never"))
    pod = await cluster.until("one", lambda pod: phase(pod) == "Failed")
    assert ("FailedPostStartHook", "PostStartHook failed: no\n") in await cluster.events("one")
    assert state(pod)["terminated"]["exitCode"] == 143
