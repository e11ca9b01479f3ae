"""What containers write, and all ways to read it.

https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#get-read-log-of-the-specified-pod
"""

from __future__ import annotations

import re

import kr8s
import pytest
from kr8s.objects import Pod

from tests.conformance.manifests import waiting_pod
from tests.conformance.pods import FOREVER, Pods, python, shell, status_of
from tests.conformance.waiting import eventually
from tests.harness.kube import Refused


@pytest.fixture(scope="module")
def writer(pods: Pods) -> str:
    """A pod that has written five lines, the last without an end, and one of them to stderr."""
    script = "echo one; sleep 0.1; echo two >&2; sleep 0.1; echo three; echo four; printf five"
    name = pods.run(shell(script))
    pods.finished(name)
    return name


def test_a_log_is_text(pods: Pods, writer: str) -> None:
    response = pods.kube.http.get(pods.kube.path("pods", pods.namespace, writer, "log"))

    assert response.headers["content-type"].startswith("text/plain")
    assert response.text == "one\ntwo\nthree\nfour\nfive"


def test_only_the_end_may_be_asked_for(pods: Pods, writer: str) -> None:
    assert pods.log(writer, tailLines="2") == "four\nfive"
    assert pods.log(writer, tailLines="0") == ""
    assert pods.log(writer, tailLines="99") == pods.log(writer)


def test_a_limit_of_bytes_cuts(pods: Pods, writer: str) -> None:
    assert pods.log(writer, limitBytes="5") == "one\nt"


def test_lines_may_have_times(pods: Pods, writer: str) -> None:
    lines = pods.log(writer, timestamps="true").splitlines()

    assert [line.split(" ", 1)[1] for line in lines] == ["one", "two", "three", "four", "five"]
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|[+-]\d\d:\d\d) ", line) for line in lines)


def test_a_log_may_begin_at_a_time(pods: Pods, writer: str) -> None:
    for past in ({"sinceTime": "2001-01-01T00:00:00Z"}, {"sinceSeconds": "3600"}):
        assert pods.log(writer, **past) == pods.log(writer)
    assert pods.log(writer, sinceTime="2101-01-01T00:00:00Z") == ""


def test_a_log_is_followed_as_it_is_written(api: kr8s.Api, pods: Pods) -> None:
    script = """
        import os, time
        print("first", flush=True)
        while not os.path.exists("/gate/open"):
            time.sleep(0.02)
        print("last", flush=True)
    """
    name = pods.run(
        python(script),
        container={"volumeMounts": [{"name": "gate", "mountPath": "/gate"}]},
        volumes=[{"name": "gate", "emptyDir": {}}],
    )
    pods.running(name)

    path = pods.kube.path("pods", pods.namespace, name, "log")
    with pods.kube.http.stream("GET", path, params={"follow": "true"}) as response:
        lines = response.iter_lines()
        assert next(lines) == "first"
        Pod.get(name, namespace=pods.namespace, api=api).exec(["touch", "/gate/open"])
        assert list(lines) == ["last"]


def test_following_a_finished_container_ends(pods: Pods, writer: str) -> None:
    assert pods.log(writer, follow="true") == pods.log(writer)


def test_the_log_of_the_container_before_is_kept(api: kr8s.Api, pods: Pods) -> None:
    script = """
        import os, sys, time
        if os.path.exists("/work/tried"):
            print("second life")
            while not os.path.exists("/work/enough"):
                time.sleep(0.02)
        else:
            open("/work/tried", "w").close()
            print("first life")
            sys.exit(1)
    """
    name = pods.run(
        python(script),
        restartPolicy="OnFailure",
        container={"volumeMounts": [{"name": "work", "mountPath": "/work"}]},
        volumes=[{"name": "work", "emptyDir": {}}],
    )
    eventually(lambda: pods.log(name), until=lambda log: log == "second life\n")
    assert pods.log(name, previous="true") == "first life\n"

    Pod.get(name, namespace=pods.namespace, api=api).exec(["touch", "/work/enough"])
    pods.finished(name)
    assert pods.log(name) == "second life\n"


def test_a_container_that_waits_for_its_restart_shows_its_end(pods: Pods) -> None:
    name = pods.run(shell("echo an end; exit 1"), restartPolicy="OnFailure")
    pods.wait(
        name,
        lambda pod: status_of(pod).get("state", {}).get("waiting", {}).get("reason") == "CrashLoopBackOff",
    )

    assert pods.log(name) == pods.log(name, previous="true") == "an end\n"


def test_without_a_container_before_there_is_no_such_log(pods: Pods, writer: str) -> None:
    with pytest.raises(
        Refused, match=f'previous terminated container "main" in pod "{writer}" not found'
    ) as refused:
        pods.log(writer, previous="true")

    assert (refused.value.code, refused.value.reason) == (400, "BadRequest")


def test_with_several_containers_one_is_named(pods: Pods) -> None:
    name = pods.create(
        pods.container(shell("echo a"), name="a"),
        pods.container(shell("echo b"), name="b"),
        initContainers=[pods.container(shell("echo before"), name="i")],
    )
    pods.finished(name)

    assert pods.log(name, container="a") == "a\n"
    assert pods.log(name, container="b") == "b\n"
    assert pods.log(name, container="i") == "before\n"
    with pytest.raises(Refused, match=f"a container name must be specified for pod {name}") as refused:
        pods.log(name)
    assert (refused.value.code, refused.value.reason) == (400, "BadRequest")


def test_an_unknown_container_is_refused(pods: Pods, writer: str) -> None:
    with pytest.raises(Refused, match=f"container nobody is not valid for pod {writer}") as refused:
        pods.log(writer, container="nobody")

    assert (refused.value.code, refused.value.reason) == (400, "BadRequest")


def test_a_container_that_waits_has_no_log_yet(pods: Pods) -> None:
    container = {"image": "registry.invalid/never:1"}
    name = pods.run(FOREVER, container=container)
    pods.wait(name, lambda pod: "waiting" in status_of(pod).get("state", {}) and pod["status"].get("hostIP"))

    with pytest.raises(Refused, match=f'container "main" in pod "{name}" is waiting to start') as refused:
        pods.log(name)

    assert (refused.value.code, refused.value.reason) == (400, "BadRequest")


def test_a_pod_without_a_node_has_no_log(pods: Pods, name: str) -> None:
    pods.kube.create(waiting_pod(name), pods.namespace)

    response = pods.kube.http.get(pods.kube.path("pods", pods.namespace, name, "log"))

    assert (response.status_code, response.text) == (204, "")


def test_options_are_validated(pods: Pods, writer: str) -> None:
    for options in ({"tailLines": "-1"}, {"sinceSeconds": "0"}, {"limitBytes": "0"}):
        with pytest.raises(Refused) as refused:
            pods.log(writer, **options)
        assert (refused.value.code, refused.value.reason) == (422, "Invalid")


def test_the_log_of_a_missing_pod_is_not_found(pods: Pods, name: str) -> None:
    with pytest.raises(Refused, match=f'pods "{name}" not found') as refused:
        pods.log(name)

    assert refused.value.code == 404


def test_a_line_shows_at_once(pods: Pods) -> None:
    name = pods.run(shell("echo here; exec sleep 3600"))
    pods.running(name)

    eventually(lambda: pods.log(name), until=lambda log: log == "here\n")
