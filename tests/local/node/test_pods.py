"""Pods run as processes, and their status tells so as kubelet would."""

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
from tests.local.node.test_termination import log_has


async def test_a_pod_runs_and_succeeds(cluster: Cluster) -> None:
    await cluster.add_node()
    await cluster.create(a_pod("one", container("sh", "-c", "echo hello"), restartPolicy="Never"))
    pod = await cluster.until("one", is_over)
    assert phase(pod) == "Succeeded"
    assert state(pod)["terminated"]["reason"] == "Completed"
    assert condition(pod, "Ready")["status"] == "False"
    assert condition(pod, "Ready")["reason"] == "PodCompleted"
    assert await cluster.log("one") == "hello\n"


async def test_events_are_worded_as_kubernetes_words_them(cluster: Cluster) -> None:
    await cluster.add_node()
    await cluster.create(a_pod("one", container("true"), restartPolicy="Never"))
    await cluster.until("one", is_over)
    assert await cluster.events("one") == [
        ("Scheduled", "Successfully assigned default/one to local"),
        ("Pulled", 'Container image "example/image" already present on machine'),
        ("Created", "Created container: main"),
        ("Started", "Started container main"),
    ]


async def test_a_failed_container_fails_a_pod_that_never_restarts(cluster: Cluster) -> None:
    await cluster.add_node()
    await cluster.create(a_pod("one", container("sh", "-c", "exit 3"), restartPolicy="Never"))
    pod = await cluster.until("one", is_over)
    assert phase(pod) == "Failed"
    assert state(pod)["terminated"]["exitCode"] == 3
    assert state(pod)["terminated"]["reason"] == "Error"


async def test_on_failure_restarts_until_the_container_succeeds(cluster: Cluster) -> None:
    await cluster.add_node()
    script = 'echo run >> "$HOME/runs"; test $(wc -l < "$HOME/runs") -ge 3'
    await cluster.create(a_pod("one", container("sh", "-c", script), restartPolicy="OnFailure"))
    pod = await cluster.until("one", is_over)
    assert phase(pod) == "Succeeded"
    assert status_of(pod)["restartCount"] == 2
    assert status_of(pod)["lastState"]["terminated"]["exitCode"] == 1


async def test_a_crashing_container_waits_in_back_off(cluster: Cluster) -> None:
    await cluster.add_node(back_off_scale=1.0)
    await cluster.create(a_pod("one", container("sh", "-c", "exit 1")))
    pod = await cluster.until(
        "one", lambda pod: state(pod).get("waiting", {}).get("reason") == "CrashLoopBackOff"
    )
    uid = pod["metadata"]["uid"]
    assert state(pod)["waiting"]["message"] == (
        f"back-off 10s restarting failed container=main pod=one_default({uid})"
    )
    assert phase(pod) == "Running"
    assert status_of(pod)["restartCount"] == 1
    assert status_of(pod)["lastState"]["terminated"]["exitCode"] == 1
    event = await cluster.until_event("one", "BackOff")
    assert event["message"] == f"Back-off restarting failed container main in pod one_default({uid})"
    await cluster.delete("one")
    await cluster.until_gone("one")


async def test_repeated_events_are_counted(cluster: Cluster) -> None:
    await cluster.add_node(back_off_scale=0.001)
    await cluster.create(a_pod("one", container("false")))
    await cluster.until("one", lambda pod: status_of(pod).get("restartCount", 0) >= 4)
    events = await cluster.api.list("events", "default", field_selector="reason=BackOff")
    assert len(events) == 1
    assert events[0]["count"] >= 3
    assert events[0]["source"] == {"component": "kubelet", "host": "local"}


async def test_a_program_that_is_missing_is_told_as_the_runtime_tells_it(cluster: Cluster) -> None:
    await cluster.add_node()
    await cluster.create(a_pod("one", container("no-such-program"), restartPolicy="Never"))
    pod = await cluster.until("one", is_over)
    ended = state(pod)["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (128, "StartError")
    assert ended["message"].endswith('exec: "no-such-program": executable file not found in $PATH')


async def test_a_container_without_command_says_that_images_are_not_pulled(cluster: Cluster) -> None:
    await cluster.add_node()
    await cluster.create(a_pod("one", {"name": "main", "image": "example/image"}))
    pod = await cluster.until("one", lambda pod: state(pod).get("waiting", {}).get("message"))
    assert state(pod)["waiting"]["reason"] == "CreateContainerError"
    assert "images are not pulled here" in state(pod)["waiting"]["message"]


async def test_every_pod_has_an_address_a_home_and_a_host_name(cluster: Cluster) -> None:
    agent = await cluster.add_node()
    for name in ("one", "two"):
        script = 'echo $HOSTNAME; pwd; test "$PWD" = "$HOME"; test -w "$TMPDIR"; sleep 100'
        await cluster.create(a_pod(name, container("sh", "-c", script)))
    pods = [await cluster.until(name, is_ready) for name in ("one", "two")]
    addresses = [pod["status"]["podIP"] for pod in pods]
    assert len(set(addresses)) == 2
    assert all(address.startswith("127.") for address in addresses)
    assert agent.address(pods[0], 8786) == (addresses[0], 8786)
    await log_has(cluster, "one", pods[0]["metadata"]["uid"])
    hostname, home = (await cluster.log("one")).splitlines()
    assert hostname == "one"
    assert pods[0]["metadata"]["uid"] in home


async def test_a_pod_that_takes_too_long_fails_with_deadline_exceeded(cluster: Cluster) -> None:
    await cluster.add_node()
    await cluster.create(a_pod("one", container("sleep", "100"), activeDeadlineSeconds=1))
    pod = await cluster.until("one", is_over)
    assert (phase(pod), pod["status"]["reason"]) == ("Failed", "DeadlineExceeded")
    assert "terminated" in state(pod)


async def test_a_deadline_may_be_set_while_the_pod_runs(cluster: Cluster) -> None:
    await cluster.add_node()
    await cluster.create(a_pod("one", container("sleep", "100")))
    await cluster.until("one", is_ready)
    await cluster.api.patch("pods", "default", "one", {"spec": {"activeDeadlineSeconds": 1}})
    pod = await cluster.until("one", is_over)
    assert pod["status"]["reason"] == "DeadlineExceeded"


async def test_a_deadline_does_not_concern_a_pod_that_has_ended(cluster: Cluster) -> None:
    await cluster.add_node()
    await cluster.create(a_pod("early", container("true"), restartPolicy="Never", activeDeadlineSeconds=1))
    await cluster.create(a_pod("late", container("sleep", "100"), activeDeadlineSeconds=2))
    await cluster.until("late", is_over)
    assert phase(await cluster.pod("early")) == "Succeeded"


async def test_the_end_of_the_log_becomes_the_message_if_asked(cluster: Cluster) -> None:
    await cluster.add_node()
    asks = container("sh", "-c", "echo the reason; exit 1", terminationMessagePolicy="FallbackToLogsOnError")
    await cluster.create(a_pod("one", asks, restartPolicy="Never"))
    pod = await cluster.until("one", is_over)
    assert state(pod)["terminated"]["message"] == "the reason\n"


async def test_a_readiness_gate_is_another_s_to_open(cluster: Cluster) -> None:
    await cluster.add_node()
    gate = {"conditionType": "example.org/gate"}
    await cluster.create(a_pod("one", container("sleep", "100"), readinessGates=[gate]))
    pod = await cluster.until("one", lambda pod: condition(pod, "ContainersReady").get("status") == "True")
    assert condition(pod, "Ready")["reason"] == "ReadinessGatesNotReady"
    opened = {"type": "example.org/gate", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    patch = {"status": {"conditions": [*pod["status"]["conditions"], opened]}}
    await cluster.api.patch("pods", "default", "one", patch, "status")
    pod = await cluster.until("one", is_ready)
    assert condition(pod, "example.org/gate")["status"] == "True"
