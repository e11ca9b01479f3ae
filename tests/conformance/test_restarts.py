"""Whether and when containers are started again.

https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy
"""

from __future__ import annotations

import pytest

from tests.conformance.pods import Pods, shell, state, status_of
from tests.harness.kube import Object


def restarts(pod: Object) -> int:
    return status_of(pod).get("restartCount", 0)


def backs_off(pod: Object) -> bool:
    return state(pod, "waiting").get("reason") == "CrashLoopBackOff"


def test_a_container_that_fails_is_started_again(pods: Pods) -> None:
    name = pods.run(shell("echo once; exit 5"), restartPolicy="Always")

    pod = pods.wait(name, lambda pod: restarts(pod) >= 1)
    assert status_of(pod)["lastState"]["terminated"]["exitCode"] == 5
    pod = pods.wait(name, backs_off)
    assert pod["status"]["phase"] == "Running"
    assert "back-off" in state(pod, "waiting")["message"]
    assert not status_of(pod)["ready"]


def test_always_is_after_a_good_end_as_well(pods: Pods) -> None:
    name = pods.run(shell("exit 0"), restartPolicy="Always")

    pod = pods.wait(name, lambda pod: restarts(pod) >= 1)
    assert status_of(pod)["lastState"]["terminated"]["reason"] == "Completed"
    assert pod["status"]["phase"] == "Running"


@pytest.mark.parametrize(
    ("policy", "code", "phase"),
    [("OnFailure", 0, "Succeeded"), ("Never", 0, "Succeeded"), ("Never", 1, "Failed")],
)
def test_a_container_may_end_for_good(pods: Pods, policy: str, code: int, phase: str) -> None:
    pod = pods.finished(pods.run(shell(f"exit {code}"), restartPolicy=policy))

    assert pod["status"]["phase"] == phase
    assert restarts(pod) == 0


def test_on_failure_is_until_it_succeeds(pods: Pods) -> None:
    # An emptyDir outlives a container's end.
    script = """
        import os, sys
        if os.path.exists("/work/tried"):
            print("again")
        else:
            open("/work/tried", "w").close()
            sys.exit(1)
    """
    name = pods.run(
        ["python3", "-c", "\n".join(line[8:] for line in script.splitlines())],
        restartPolicy="OnFailure",
        container={"volumeMounts": [{"name": "work", "mountPath": "/work"}]},
        volumes=[{"name": "work", "emptyDir": {}}],
    )

    pod = pods.finished(name)

    assert pod["status"]["phase"] == "Succeeded"
    assert restarts(pod) == 1
    assert pods.log(name) == "again\n"


def test_a_pod_stays_where_it_is_when_its_container_restarts(pods: Pods) -> None:
    name = pods.run(shell("exit 1"), restartPolicy="Always")
    before = pods.wait(name, lambda pod: status_of(pod))

    after = pods.wait(name, lambda pod: restarts(pod) >= 1)

    assert after["spec"]["nodeName"] == before["spec"]["nodeName"]
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


def test_back_off_is_told_by_an_event(pods: Pods) -> None:
    name = pods.run(shell("exit 1"), restartPolicy="Always")

    pods.event(name, "BackOff", "restarting failed container")


def test_the_other_containers_go_on(pods: Pods) -> None:
    name = pods.create(
        pods.container(shell("exit 1"), name="fails"),
        pods.container(["sleep", "3600"], name="lives"),
        restartPolicy="Always",
    )

    pod = pods.wait(name, lambda pod: status_of(pod, "fails").get("restartCount", 0) >= 1)

    assert status_of(pod, "lives")["restartCount"] == 0
    assert state(pod, "running", "lives")
