"""How pods end when they are told to.

https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.conformance.pods import FOREVER, Pods, python, shell, state, status_of
from tests.conformance.waiting import condition_is
from tests.conformance.watching import Watch
from tests.harness.kube import Object, Refused

OBEDIENT = """
    import signal, sys, time
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
    print("ready")
    time.sleep(3600)
"""
STUBBORN = """
    import signal, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("ready")
    while True:
        time.sleep(3600)
"""


def started(pods: Pods, code: str, container: Object | None = None, **spec: Any) -> Object:
    """Run Python and wait until it says that it's ready."""
    name = pods.run(python(code), container=container, **spec)
    pod = pods.ready(name)
    path = pods.kube.path("pods", pods.namespace, name, "log")
    with pods.kube.http.stream("GET", path, params={"follow": "true"}) as response:
        assert next(response.iter_lines()) == "ready"
    return pod


def last_states(pods: Pods, pod: Object) -> list[Object]:
    """Return all states of a pod since the one that is given, up to its deletion."""
    metadata = pod["metadata"]
    with Watch(
        pods.kube,
        "pods",
        pods.namespace,
        resourceVersion=metadata["resourceVersion"],
        fieldSelector=f"metadata.name={metadata['name']}",
    ) as watch:
        return [found for _, found in watch.until_seen("DELETED", metadata["name"])]


def test_a_pod_is_asked_to_end_and_its_end_is_told(pods: Pods) -> None:
    pod = started(pods, OBEDIENT, terminationGracePeriodSeconds=30)

    pods.kube.delete("pods", pod["metadata"]["name"], pods.namespace)

    last = last_states(pods, pod)[-1]
    assert state(last, "terminated")["exitCode"] == 7
    assert last["status"]["phase"] == "Failed"


def test_a_pod_that_does_not_obey_is_killed(pods: Pods) -> None:
    pod = started(pods, STUBBORN, terminationGracePeriodSeconds=1)

    pods.kube.delete("pods", pod["metadata"]["name"], pods.namespace)

    assert state(last_states(pods, pod)[-1], "terminated")["exitCode"] == 137


def test_a_pod_on_its_way_out_says_until_when(pods: Pods) -> None:
    pod = started(pods, STUBBORN, terminationGracePeriodSeconds=2)
    name = pod["metadata"]["name"]

    answer = pods.kube.request("DELETE", pods.kube.path("pods", pods.namespace, name))

    metadata = answer["metadata"]
    assert metadata["deletionGracePeriodSeconds"] == 2
    left = datetime.fromisoformat(metadata["deletionTimestamp"]) - datetime.fromisoformat(
        metadata["creationTimestamp"]
    )
    assert left >= timedelta(seconds=2)
    marked = next(one for one in last_states(pods, pod) if "deletionTimestamp" in one["metadata"])
    assert marked["metadata"]["deletionTimestamp"] == metadata["deletionTimestamp"]
    assert state(marked, "running")


def test_the_grace_may_be_given_with_the_deletion(pods: Pods) -> None:
    pod = started(pods, STUBBORN, terminationGracePeriodSeconds=600)

    pods.kube.delete("pods", pod["metadata"]["name"], pods.namespace, gracePeriodSeconds=1)

    assert state(last_states(pods, pod)[-1], "terminated")["exitCode"] == 137


def test_a_grace_that_is_shortened_later_comes_too_late(pods: Pods) -> None:
    """The object tells of it, but a kubelet that waits already goes on as it began."""
    pod = started(pods, STUBBORN, terminationGracePeriodSeconds=6)
    path = pods.kube.path("pods", pods.namespace, pod["metadata"]["name"])
    first = pods.kube.request("DELETE", path)["metadata"]
    assert first["deletionGracePeriodSeconds"] == 6
    second = pods.kube.request("DELETE", path, json={"gracePeriodSeconds": 1})

    shortened = second["metadata"]
    assert shortened["deletionGracePeriodSeconds"] == 1
    until, at_first = (datetime.fromisoformat(one["deletionTimestamp"]) for one in (shortened, first))
    assert until == at_first - timedelta(seconds=5)
    ended = state(last_states(pods, second)[-1], "terminated")
    assert ended["exitCode"] == 137
    assert datetime.fromisoformat(ended["finishedAt"]) >= at_first - timedelta(seconds=1)


def test_without_grace_a_pod_is_gone_at_once(pods: Pods) -> None:
    pod = started(pods, STUBBORN, terminationGracePeriodSeconds=600)
    name = pod["metadata"]["name"]

    pods.kube.delete("pods", name, pods.namespace, gracePeriodSeconds=0)

    assert pods.kube.find("pods", name, pods.namespace) is None


def test_the_name_of_a_pod_without_grace_is_free(pods: Pods) -> None:
    pod = started(pods, STUBBORN)
    name = pod["metadata"]["name"]
    pods.kube.delete("pods", name, pods.namespace, gracePeriodSeconds=0)

    manifest = {**pods.manifest(pods.container(FOREVER)), "metadata": {"name": name}}
    again = pods.kube.create(manifest, pods.namespace)

    found = pods.ready(name)
    assert found["metadata"]["uid"] == again["metadata"]["uid"] != pod["metadata"]["uid"]


def test_a_pod_with_a_finalizer_ends_but_stays(pods: Pods) -> None:
    stay = "conformance.example.com/stay"
    name = pods.run(python(OBEDIENT), metadata={"finalizers": [stay]})
    pods.ready(name)

    pods.kube.delete("pods", name, pods.namespace)

    pod = pods.wait(name, lambda pod: pod["status"]["phase"] in ("Succeeded", "Failed"))
    assert "deletionTimestamp" in pod["metadata"]
    pods.kube.patch("pods", name, {"metadata": {"finalizers": None}}, pods.namespace)
    pods.kube.gone("pods", name, pods.namespace)


def test_a_finished_pod_goes_at_once(pods: Pods) -> None:
    name = pods.run(shell("exit 0"), terminationGracePeriodSeconds=600)
    pods.finished(name)

    pods.kube.delete("pods", name, pods.namespace)

    pods.kube.gone("pods", name, pods.namespace, timeout=30)


def test_a_command_runs_before_the_end(pods: Pods) -> None:
    script = """
        import os, signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(9 if os.path.exists("/work/stopping") else 1))
        print("ready")
        time.sleep(3600)
    """
    hook = {"preStop": {"exec": {"command": ["python3", "-c", "open('/work/stopping', 'w').close()"]}}}
    pod = started(
        pods,
        script,
        container={"lifecycle": hook, "volumeMounts": [{"name": "work", "mountPath": "/work"}]},
        volumes=[{"name": "work", "emptyDir": {}}],
        terminationGracePeriodSeconds=30,
    )

    pods.kube.delete("pods", pod["metadata"]["name"], pods.namespace)

    assert state(last_states(pods, pod)[-1], "terminated")["exitCode"] == 9


def test_all_processes_of_a_container_end_with_it(pods: Pods) -> None:
    """A child that nobody waits for would still hold the pod's address and port."""
    script = """
        import subprocess, sys, time
        child = "import socket, time; s = socket.create_server(('', 8765)); print('ready'); time.sleep(3600)"
        subprocess.Popen([sys.executable, "-u", "-c", child], start_new_session=True)
        time.sleep(3600)
    """
    pod = started(pods, script)

    pods.kube.delete("pods", pod["metadata"]["name"], pods.namespace)

    pods.kube.gone("pods", pod["metadata"]["name"], pods.namespace)


def test_an_eviction_is_a_deletion_that_asks_first(pods: Pods) -> None:
    name = pods.run(FOREVER)
    pods.ready(name)

    answer = evict(pods, name)

    assert (answer["kind"], answer["status"]) == ("Status", "Success")
    pods.kube.gone("pods", name, pods.namespace)


def test_a_disruption_budget_forbids_an_eviction(pods: Pods, name: str) -> None:
    pod = pods.run(FOREVER, metadata={"labels": {"of": name}})
    pods.ready(pod)
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"of": name}}},
    }
    pods.kube.create(budget, pods.namespace)
    pods.kube.wait(
        "poddisruptionbudgets.policy",
        name,
        pods.namespace,
        until=lambda found: found.get("status", {}).get("currentHealthy") == 1,
    )

    with pytest.raises(
        Refused, match="Cannot evict pod as it would violate the pod's disruption budget"
    ) as refused:
        evict(pods, pod)

    assert (refused.value.code, refused.value.reason) == (429, "TooManyRequests")
    assert "deletionTimestamp" not in pods.kube.get("pods", pod, pods.namespace)["metadata"]


def evict(pods: Pods, name: str) -> Object:
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": pods.namespace},
    }
    return pods.kube.request("POST", pods.kube.path("pods", pods.namespace, name, "eviction"), json=eviction)


def test_a_pod_that_ends_is_no_longer_ready(pods: Pods) -> None:
    probe = {"exec": {"command": ["true"]}, "periodSeconds": 1}
    name = pods.run(python(OBEDIENT), container={"readinessProbe": probe}, restartPolicy="Never")
    pod = pods.ready(name)

    pods.kube.delete("pods", name, pods.namespace)

    last = last_states(pods, pod)[-1]
    assert not condition_is(last, "Ready")
    assert status_of(last)["ready"] is False
