"""Containers that come before the others, and those that stay beside them.

https://kubernetes.io/docs/concepts/workloads/pods/init-containers/
https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/
"""

from __future__ import annotations

from tests.conformance.pods import FOREVER, Pods, python, shell, state, status_of
from tests.conformance.waiting import condition_is

WORK = {"volumeMounts": [{"name": "work", "mountPath": "/work"}]}
VOLUMES = [{"name": "work", "emptyDir": {}}]
ALWAYS = {"restartPolicy": "Always"}


def appends(word: str) -> list[str]:
    return python(f"open('/work/order', 'a').write('{word} ')")


def test_they_run_one_after_the_other_and_before_the_rest(pods: Pods) -> None:
    name = pods.create(
        pods.container(python("print(open('/work/order').read())"), **WORK),
        initContainers=[
            pods.container(appends("one"), name="one", **WORK),
            pods.container(appends("two"), name="two", **WORK),
        ],
        volumes=VOLUMES,
    )

    pod = pods.finished(name)

    assert pods.log(name, container="main") == "one two \n"
    assert condition_is(pod, "Initialized")
    assert state(pod, "terminated", "one")["reason"] == "Completed"
    assert status_of(pod, "one")["ready"] is True


def test_the_rest_waits_meanwhile(pods: Pods) -> None:
    name = pods.create(pods.container(FOREVER), initContainers=[pods.container(FOREVER, name="init")])

    pod = pods.wait(name, lambda pod: state(pod, "running", "init"))

    assert pod["status"]["phase"] == "Pending"
    assert condition_is(pod, "Initialized", "False", "ContainersNotInitialized")
    assert state(pod, "waiting")["reason"] == "PodInitializing"


def test_a_failure_is_the_pods_own_if_nothing_restarts(pods: Pods) -> None:
    name = pods.create(
        pods.container(FOREVER),
        initContainers=[pods.container(shell("exit 2"), name="init")],
        restartPolicy="Never",
    )

    pod = pods.finished(name)

    assert pod["status"]["phase"] == "Failed"
    assert state(pod, "terminated", "init")["exitCode"] == 2
    assert state(pod, "waiting")["reason"] == "PodInitializing"


def test_a_failure_is_tried_again_otherwise(pods: Pods) -> None:
    name = pods.create(
        pods.container(FOREVER),
        initContainers=[pods.container(shell("exit 2"), name="init")],
        restartPolicy="Always",
    )

    pod = pods.wait(name, lambda pod: status_of(pod, "init").get("restartCount", 0) >= 1)

    assert pod["status"]["phase"] == "Pending"
    assert not state(pod, "running")


def test_a_sidecar_starts_before_the_rest_and_stays(pods: Pods) -> None:
    name = pods.create(
        pods.container(FOREVER), initContainers=[pods.container(FOREVER, name="side", **ALWAYS)]
    )

    pod = pods.ready(name)

    assert state(pod, "running", "side")
    assert status_of(pod, "side")["started"] is True
    assert pod["status"]["phase"] == "Running"


def test_a_sidecar_is_started_before_the_next_begins(pods: Pods) -> None:
    probe = {
        "exec": {"command": ["python3", "-c", "open('/work/started')"]},
        "periodSeconds": 1,
        "failureThreshold": 60,
    }
    side = "import time; time.sleep(0.5); open('/work/started', 'w').close(); time.sleep(3600)"
    name = pods.create(
        pods.container(python("import os; print(os.path.exists('/work/started'))"), **WORK),
        initContainers=[pods.container(python(side), name="side", startupProbe=probe, **ALWAYS, **WORK)],
        volumes=VOLUMES,
    )

    pods.finished(name)
    assert pods.log(name, container="main") == "True\n"


def test_a_pod_does_not_wait_for_its_sidecars(pods: Pods) -> None:
    name = pods.create(
        pods.container(shell("exit 0")), initContainers=[pods.container(FOREVER, name="side", **ALWAYS)]
    )

    pod = pods.finished(name)

    assert pod["status"]["phase"] == "Succeeded"
    assert state(pod, "terminated", "side")


def test_a_sidecar_that_ends_is_started_again(pods: Pods) -> None:
    name = pods.create(
        pods.container(FOREVER), initContainers=[pods.container(shell("exit 1"), name="side", **ALWAYS)]
    )

    pod = pods.wait(name, lambda pod: status_of(pod, "side").get("restartCount", 0) >= 1)

    assert status_of(pod).get("restartCount", 0) == 0
