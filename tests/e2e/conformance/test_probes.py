"""Probes: ready, alive, started.

https://kubernetes.io/docs/tasks/configure-pod-container/configure-liveness-readiness-startup-probes/
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.conformance.pods import ECHO_SERVER, FOREVER, Pods, python, state, status_of
from tests.e2e.conformance.waiting import condition_is

FAILS = {
    "exec": {"command": ["python3", "-c", "raise SystemExit(1)"]},
    "periodSeconds": 1,
    "timeoutSeconds": 5,
}
WORK = {"volumeMounts": [{"name": "work", "mountPath": "/work"}]}
VOLUMES = [{"name": "work", "emptyDir": {}}]


@pytest.mark.parametrize(
    "probe",
    [
        {"httpGet": {"path": "/health", "port": 8080}},
        {"httpGet": {"path": "/health", "port": "http", "httpHeaders": [{"name": "X-A", "value": "b"}]}},
        {"tcpSocket": {"port": 8080}},
        {"exec": {"command": ["true"]}},
    ],
    ids=["http", "named port", "tcp", "exec"],
)
def test_a_container_that_answers_is_ready(pods: Pods, probe: dict[str, Any]) -> None:
    name = pods.run(
        [*python(ECHO_SERVER), "8080"],
        container={
            "readinessProbe": {**probe, "periodSeconds": 1},
            "ports": [{"name": "http", "containerPort": 8080}],
        },
    )

    pods.ready(name)


def test_a_refusal_is_no_answer(pods: Pods) -> None:
    probe = {"httpGet": {"path": "/teapot", "port": 8080}, "periodSeconds": 1}
    name = pods.run([*python(ECHO_SERVER), "8080"], container={"readinessProbe": probe})

    pod = pods.wait(
        name, lambda pod: condition_is(pod, "Ready", "False", "ContainersNotReady") and state(pod, "running")
    )

    assert status_of(pod)["ready"] is False
    assert status_of(pod)["started"] is True
    pods.kube.wait_all(
        "events",
        pods.namespace,
        until=lambda events: any(
            one["reason"] == "Unhealthy"
            and "Readiness probe failed: HTTP probe failed with statuscode: 418" in one["message"]
            for one in events.values()
        ),
        fieldSelector=f"involvedObject.name={name}",
    )


def test_a_pod_is_ready_when_it_begins_to_answer_and_not_when_it_ceases(pods: Pods) -> None:
    script = """
        import os, time
        time.sleep(0.3)
        open("/work/ready", "w").close()
        time.sleep(3)
        os.remove("/work/ready")
        time.sleep(3600)
    """
    probe = {
        "exec": {"command": ["python3", "-c", "open('/work/ready')"]},
        "periodSeconds": 1,
        "failureThreshold": 1,
    }
    name = pods.run(
        python(script), container={"readinessProbe": {**probe, "timeoutSeconds": 5}, **WORK}, volumes=VOLUMES
    )

    pods.ready(name)
    pod = pods.wait(name, lambda pod: condition_is(pod, "Ready", "False"))
    assert status_of(pod)["restartCount"] == 0


def test_a_dead_container_is_restarted(pods: Pods) -> None:
    name = pods.run(
        FOREVER, container={"livenessProbe": {**FAILS, "failureThreshold": 1}}, restartPolicy="Always"
    )

    pod = pods.wait(name, lambda pod: status_of(pod).get("restartCount", 0) >= 1)

    assert status_of(pod)["lastState"]["terminated"]["exitCode"] in (137, 143)
    events = pods.events(name)
    assert "Liveness probe failed" in events["Unhealthy"]["message"]
    assert "will be restarted" in events["Killing"]["message"]


def test_a_dead_container_that_does_not_restart_fails(pods: Pods) -> None:
    name = pods.run(
        FOREVER, container={"livenessProbe": {**FAILS, "failureThreshold": 1}}, restartPolicy="Never"
    )

    assert pods.finished(name)["status"]["phase"] == "Failed"


def test_a_container_that_starts_slowly_is_left_alone(pods: Pods) -> None:
    script = """
        import time
        time.sleep(1.5)
        open("/work/started", "w").close()
        time.sleep(3600)
    """
    check = {
        "exec": {"command": ["python3", "-c", "open('/work/started')"]},
        "periodSeconds": 1,
        "timeoutSeconds": 5,
    }
    name = pods.run(
        python(script),
        container={
            "startupProbe": {**check, "failureThreshold": 60},
            "livenessProbe": {**check, "failureThreshold": 1},
            **WORK,
        },
        volumes=VOLUMES,
    )

    pod = pods.wait(name, lambda pod: state(pod, "running"))
    assert status_of(pod)["started"] is False
    assert status_of(pod)["ready"] is False
    pod = pods.ready(name)
    assert status_of(pod)["started"] is True
    assert status_of(pod)["restartCount"] == 0


def test_a_container_that_never_starts_is_restarted(pods: Pods) -> None:
    name = pods.run(
        FOREVER, container={"startupProbe": {**FAILS, "failureThreshold": 1}}, restartPolicy="Always"
    )

    pods.wait(name, lambda pod: status_of(pod).get("restartCount", 0) >= 1)


def test_a_probe_that_takes_too_long_has_failed(pods: Pods) -> None:
    probe = {
        "exec": {"command": ["sleep", "30"]},
        "periodSeconds": 1,
        "timeoutSeconds": 1,
        "failureThreshold": 1,
    }
    name = pods.run(FOREVER, container={"livenessProbe": probe}, restartPolicy="Always")

    pods.wait(name, lambda pod: status_of(pod).get("restartCount", 0) >= 1)
