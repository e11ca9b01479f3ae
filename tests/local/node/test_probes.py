"""Probes decide when a container is ready, and when it must be restarted."""

from __future__ import annotations

from typing import Any

from tests.local.node.kit import Cluster, a_pod, condition, container, is_ready, phase, state, status_of
from tests.local.node.test_termination import log_has

SERVER = ("python", "-m", "http.server", "8000")
SOON = {"periodSeconds": 1}


def probe(kind: str, how: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return {kind: {**SOON, **how, **settings}}


def get(path: str = "/", port: int | str = 8000) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": port}}


def command(script: str) -> dict[str, Any]:
    return {"exec": {"command": ["sh", "-c", script]}}


async def test_a_pod_is_ready_when_its_http_probe_answers(cluster: Cluster) -> None:
    await cluster.add_node(probe_scale=0.05)
    named = {"ports": [{"name": "web", "containerPort": 8000}]}
    await cluster.create(
        a_pod("one", container(*SERVER, **named, **probe("readinessProbe", get(port="web"))))
    )
    pod = await cluster.until("one", lambda pod: "running" in state(pod))
    assert condition(pod, "Ready")["reason"] == "ContainersNotReady"
    assert condition(pod, "Ready")["message"] == "containers with unready status: [main]"
    await cluster.until("one", is_ready)


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


async def test_a_bad_status_is_not_ready(cluster: Cluster) -> None:
    await cluster.add_node(probe_scale=0.05)
    probes = probe("readinessProbe", get("/missing"))
    await cluster.create(a_pod("one", container(*SERVER, **probes)))

    def has_answered(event: dict[str, Any]) -> bool:
        return "statuscode" in event["message"]

    async for _, event in cluster.api.watch("events", field_selector="reason=Unhealthy"):
        if has_answered(event):
            assert event["message"] == "Readiness probe failed: HTTP probe failed with statuscode: 404"
            break
    assert not is_ready(await cluster.pod("one"))


async def test_readiness_comes_and_goes(cluster: Cluster) -> None:
    await cluster.add_node(probe_scale=0.05)
    script = 'touch "$HOME/ready"; sleep 100'
    probes = probe("readinessProbe", command('test -e "$HOME/ready"'), failureThreshold=1)
    await cluster.create(a_pod("one", container("sh", "-c", script, **probes)))
    pod = await cluster.until("one", is_ready)
    agent = cluster.server.kubelets["local"]
    await agent.exec(pod, "main", ["sh", "-c", 'rm "$HOME/ready"'], b"")
    await cluster.until("one", lambda pod: not is_ready(pod))
    assert status_of(await cluster.pod("one"))["restartCount"] == 0


async def test_a_tcp_probe_asks_for_a_connection(cluster: Cluster) -> None:
    await cluster.add_node(probe_scale=0.05)
    await cluster.create(
        a_pod("one", container(*SERVER, **probe("readinessProbe", {"tcpSocket": {"port": 8000}})))
    )
    await cluster.until("one", is_ready)


async def test_a_container_that_is_not_alive_is_restarted(cluster: Cluster) -> None:
    await cluster.add_node(probe_scale=0.05)
    probes = probe("livenessProbe", command("echo sick; exit 1"), failureThreshold=2)
    await cluster.create(a_pod("one", container("sleep", "100", **probes)))
    pod = await cluster.until("one", lambda pod: status_of(pod).get("restartCount", 0) >= 1)
    assert status_of(pod)["lastState"]["terminated"]["exitCode"] == 143
    events = await cluster.events("one")
    assert ("Unhealthy", "Liveness probe failed: sick\n") in events
    assert ("Killing", "Container main failed liveness probe, will be restarted") in events


async def test_other_probes_wait_for_the_startup_probe(cluster: Cluster) -> None:
    await cluster.add_node(probe_scale=0.05)
    script = 'until test -e "$HOME/go"; do sleep 0.05; done; touch "$HOME/started"; sleep 100'
    probes = {
        **probe("startupProbe", command('test -e "$HOME/started"'), failureThreshold=10_000),
        **probe("livenessProbe", command('test -e "$HOME/started"'), failureThreshold=1),
    }
    await cluster.create(a_pod("one", container("sh", "-c", script, **probes)))
    await cluster.until_event("one", "Unhealthy")
    pod = await cluster.pod("one")
    assert status_of(pod)["started"] is False
    assert not is_ready(pod)
    await cluster.server.kubelets["local"].exec(pod, "main", ["sh", "-c", 'touch "$HOME/go"'], b"")
    pod = await cluster.until("one", is_ready)
    assert status_of(pod)["restartCount"] == 0


async def test_a_startup_probe_that_never_passes_restarts_the_container(cluster: Cluster) -> None:
    await cluster.add_node(probe_scale=0.05)
    probes = probe("startupProbe", command("exit 1"), failureThreshold=2)
    await cluster.create(a_pod("one", container("sleep", "100", **probes)))
    await cluster.until("one", lambda pod: status_of(pod).get("restartCount", 0) >= 1)


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


async def test_logs_can_be_followed_by_several(cluster: Cluster) -> None:
    await cluster.add_node()
    script = "for i in 1 2 3; do echo line $i; sleep 0.1; done"
    await cluster.create(a_pod("one", container("sh", "-c", script), restartPolicy="Never"))
    await cluster.until("one", is_ready)
    await log_has(cluster, "one", "line 1")
    text = await cluster.log("one", follow=True)
    assert text == "line 1\nline 2\nline 3\n"
