"""Commands beside a container's process, over a WebSocket as kr8s opens it.

https://kubernetes.io/docs/tasks/debug/debug-application/get-shell-running-container/
"""

from __future__ import annotations

import kr8s
import pytest
from kr8s.objects import Pod

from tests.conformance.pods import FOREVER, Pods


@pytest.fixture(scope="module")
def pod(pods: Pods, api: kr8s.Api) -> Pod:
    """A pod of two containers with different environments."""
    name = pods.create(
        pods.container(FOREVER, env=[{"name": "A", "value": "main"}]),
        pods.container(FOREVER, name="other", env=[{"name": "A", "value": "other"}]),
    )
    pods.ready(name)
    return Pod.get(name, namespace=pods.namespace, api=api)


def test_a_command_writes(pod: Pod) -> None:
    done = pod.exec(["sh", "-c", "echo out; echo err >&2"], container="main")

    assert (done.returncode, done.stdout, done.stderr) == (0, b"out\n", b"err\n")


def test_a_command_fails(pod: Pod) -> None:
    done = pod.exec(["sh", "-c", "exit 3"], container="main", check=False)

    assert done.returncode == 3


def test_a_command_runs_in_its_containers_environment(pod: Pod) -> None:
    for container in ("main", "other"):
        assert pod.exec(["sh", "-c", "echo $A"], container=container).stdout == f"{container}\n".encode()


def test_a_command_runs_in_its_pods_network(pod: Pod) -> None:
    code = "import socket; print(socket.gethostname())"

    assert pod.exec(["python3", "-c", code], container="main").stdout.decode().strip() == pod.name


def test_arguments_arrive_as_they_are(pod: Pod) -> None:
    done = pod.exec(["printf", "%s|", "two words", "$A", "*"], container="main")

    assert done.stdout == b"two words|$A|*|"
