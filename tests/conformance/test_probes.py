"""Probes: ready, alive, started.

https://kubernetes.io/docs/tasks/configure-pod-container/configure-liveness-readiness-startup-probes/
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.pods import ECHO_SERVER, FOREVER, Pods, python, state, status_of
from tests.conformance.waiting import condition_is, eventually

FAILS = {
    "exec": {"command": ["python3", "-c", "raise SystemExit(1)"]},
    "periodSeconds": 1,
    "timeoutSeconds": 5,
}
GATE = """
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Gate(BaseHTTPRequestHandler):
    is_open = False

    def do_GET(self):
        self.send_response(200 if Gate.is_open else 503)
        self.end_headers()

    def do_PUT(self):
        Gate.is_open = True
        self.do_GET()

    def do_DELETE(self):
        self.do_GET()
        Gate.is_open = False

ThreadingHTTPServer(("", 8080), Gate).serve_forever()
"""
"""Answers probes with yes since it was asked to by PUT, and with no again since it was by DELETE."""

ASKS_THE_GATE = {"httpGet": {"port": 8080}, "periodSeconds": 1, "timeoutSeconds": 5}


def move_gate(pods: Pods, name: str, method: str) -> None:
    """Tell a pod what to answer from now on, through the API server: it reaches pods that aren't ready."""
    path = f"{pods.kube.path('pods', pods.namespace, f'{name}:8080', 'proxy')}/"
    eventually(lambda: pods.kube.http.request(method, path).status_code, until=lambda code: code == 200)


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
    pods.event(name, "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 418")


def test_a_pod_is_ready_when_it_begins_to_answer_and_not_when_it_ceases(pods: Pods) -> None:
    name = pods.run(python(GATE), container={"readinessProbe": {**ASKS_THE_GATE, "failureThreshold": 1}})

    pod = pods.running(name)
    assert condition_is(pod, "Ready", "False", "ContainersNotReady")
    move_gate(pods, name, "PUT")
    pods.ready(name)
    move_gate(pods, name, "DELETE")
    pod = pods.wait(name, lambda pod: condition_is(pod, "Ready", "False"))
    assert status_of(pod)["restartCount"] == 0


def test_a_dead_container_is_restarted(pods: Pods) -> None:
    name = pods.run(
        FOREVER, container={"livenessProbe": {**FAILS, "failureThreshold": 1}}, restartPolicy="Always"
    )

    pod = pods.wait(name, lambda pod: status_of(pod).get("restartCount", 0) >= 1)

    assert status_of(pod)["lastState"]["terminated"]["exitCode"] in (137, 143)
    pods.event(name, "Unhealthy", "Liveness probe failed")
    pods.event(name, "Killing", "will be restarted")


def test_a_dead_container_that_does_not_restart_fails(pods: Pods) -> None:
    name = pods.run(
        FOREVER, container={"livenessProbe": {**FAILS, "failureThreshold": 1}}, restartPolicy="Never"
    )

    assert pods.finished(name)["status"]["phase"] == "Failed"


def test_a_container_that_starts_slowly_is_left_alone(pods: Pods) -> None:
    probes = {
        "startupProbe": {**ASKS_THE_GATE, "failureThreshold": 60},
        "livenessProbe": {**ASKS_THE_GATE, "failureThreshold": 1},
    }
    name = pods.run(python(GATE), container=probes)

    pod = pods.wait(name, lambda pod: state(pod, "running"))
    assert status_of(pod)["started"] is False
    assert status_of(pod)["ready"] is False
    pods.event(name, "Unhealthy", "Startup probe failed")
    move_gate(pods, name, "PUT")
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
