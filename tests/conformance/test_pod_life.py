"""A pod's life: its phases, conditions, addresses, and how its containers end.

https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from __future__ import annotations

import ipaddress
import json

from tests.conformance.pods import FOREVER, Pods, python, shell, state, status_of
from tests.conformance.waiting import condition, condition_is


def test_a_pod_becomes_running_and_ready(pods: Pods) -> None:
    name = pods.run(FOREVER)

    pod = pods.ready(name)

    status = pod["status"]
    assert status["phase"] == "Running"
    for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready"):
        assert condition_is(pod, kind), kind
    assert pod["spec"]["nodeName"]
    assert ipaddress.ip_address(status["podIP"])
    assert status["podIPs"][0] == {"ip": status["podIP"]}
    assert ipaddress.ip_address(status["hostIP"])
    assert status["startTime"]
    [main] = status["containerStatuses"]
    assert main["state"]["running"]["startedAt"]
    assert (main["ready"], main["started"], main["restartCount"]) == (True, True, 0)
    assert main["containerID"]
    assert main["image"]


def test_pods_have_addresses_of_their_own(pods: Pods) -> None:
    names = [pods.run(FOREVER) for _ in range(3)]

    assert len({pods.ready(name)["status"]["podIP"] for name in names}) == 3


def test_a_pod_that_ends_well_has_succeeded(pods: Pods) -> None:
    pod = pods.finished(pods.run(shell("exit 0")))

    assert pod["status"]["phase"] == "Succeeded"
    ended = state(pod, "terminated")
    assert (ended["exitCode"], ended["reason"]) == (0, "Completed")
    assert ended["startedAt"] <= ended["finishedAt"]
    assert condition_is(pod, "Ready", "False", "PodCompleted")


def test_a_pod_that_ends_badly_has_failed(pods: Pods) -> None:
    pod = pods.finished(pods.run(shell("exit 3")))

    assert pod["status"]["phase"] == "Failed"
    ended = state(pod, "terminated")
    assert (ended["exitCode"], ended["reason"]) == (3, "Error")
    assert condition_is(pod, "Ready", "False", "PodFailed")


def test_a_pod_ends_with_its_last_container(pods: Pods) -> None:
    name = pods.create(
        pods.container(shell("exit 0"), name="first"),
        pods.container(shell("sleep 1; exit 0"), name="second"),
    )

    pod = pods.wait(name, lambda pod: state(pod, "terminated", "first"))
    assert pod["status"]["phase"] in ("Pending", "Running", "Succeeded")
    assert pods.finished(name)["status"]["phase"] == "Succeeded"


def test_a_pod_fails_when_one_of_its_containers_did(pods: Pods) -> None:
    name = pods.create(
        pods.container(shell("exit 0"), name="good"), pods.container(shell("exit 1"), name="bad")
    )

    assert pods.finished(name)["status"]["phase"] == "Failed"


def test_containers_of_a_pod_reach_each_other_at_localhost(pods: Pods) -> None:
    server = """
        import socket
        with socket.create_server(("127.0.0.1", 7777)) as server:
            connection, _ = server.accept()
            connection.sendall(b"hello")
            connection.close()
    """
    client = """
        import socket, time
        for _ in range(200):
            try:
                with socket.create_connection(("localhost", 7777)) as connection:
                    print(connection.recv(100).decode())
                break
            except OSError:
                time.sleep(0.05)
    """
    name = pods.create(
        pods.container(python(server), name="server"), pods.container(python(client), name="client")
    )

    pods.finished(name)
    assert pods.log(name, container="client") == "hello\n"


def test_two_pods_may_use_the_same_port(pods: Pods) -> None:
    first, second = pods.serve(8080), pods.serve(8080)

    assert pods.ready(first)["status"]["podIP"] != pods.ready(second)["status"]["podIP"]


def test_a_container_has_command_arguments_and_folder(pods: Pods) -> None:
    code = "import json, os, sys; print(json.dumps([sys.argv[1:], os.getcwd()]))"
    name = pods.run(python(code), container={"args": ["one", "two words"], "workingDir": "/tmp"})

    assert json.loads(pods.output(name)) == [["one", "two words"], "/tmp"]


def test_a_pod_is_called_as_it_is_named(pods: Pods) -> None:
    code = "import os, socket; print(socket.gethostname(), os.environ['HOSTNAME'])"
    name = pods.run(python(code))

    assert pods.output(name).split() == [name, name]


def test_a_pod_may_have_a_host_name(pods: Pods) -> None:
    name = pods.run(python("import socket; print(socket.gethostname())"), hostname="another")

    assert pods.output(name) == "another\n"


def test_its_own_name_leads_to_its_address(pods: Pods) -> None:
    name = pods.run(python("import socket; print(socket.gethostbyname(socket.gethostname()))"))

    output = pods.output(name)
    assert output.strip() == pods.finished(name)["status"]["podIP"]


def test_a_pod_that_takes_too_long_fails(pods: Pods) -> None:
    pod = pods.finished(pods.run(FOREVER, activeDeadlineSeconds=1))

    assert pod["status"]["phase"] == "Failed"
    assert pod["status"]["reason"] == "DeadlineExceeded"


def test_the_end_of_its_log_may_be_its_last_word(pods: Pods) -> None:
    name = pods.run(
        shell("echo before; echo 'that was wrong'; exit 1"),
        container={"terminationMessagePolicy": "FallbackToLogsOnError"},
    )

    assert state(pods.finished(name), "terminated")["message"].rstrip().endswith("that was wrong")


def test_its_beginning_is_told_by_events(pods: Pods) -> None:
    name = pods.run(FOREVER)
    pods.ready(name)

    assert "assigned" in pods.event(name, "Scheduled")["message"]
    assert pods.event(name, "Created")["type"] == "Normal"
    assert pods.event(name, "Started")["involvedObject"]["fieldPath"] == "spec.containers{main}"


def test_a_pod_with_a_host_network_has_the_nodes_address(pods: Pods) -> None:
    name = pods.run(FOREVER, hostNetwork=True)

    status = pods.ready(name)["status"]
    assert status["podIP"] == status["hostIP"]


def test_a_readiness_gate_holds_a_pod_back(pods: Pods) -> None:
    gate = "conformance.example.com/open"
    name = pods.run(FOREVER, readinessGates=[{"conditionType": gate}])
    pod = pods.wait(name, lambda pod: condition_is(pod, "ContainersReady"))
    pod = pods.wait(name, lambda pod: condition_is(pod, "Ready", "False", "ReadinessGatesNotReady"))
    assert condition(pod, gate) is None

    opened = {"status": {"conditions": [{"type": gate, "status": "True"}]}}
    pods.kube.patch("pods", name, opened, pods.namespace, kind="strategic", subresource="status")

    pods.ready(name)
    assert status_of(pods.ready(name))["ready"] is True
