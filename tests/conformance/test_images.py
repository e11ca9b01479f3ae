"""Images and commands that can't be had.

https://kubernetes.io/docs/concepts/containers/images/
"""

from __future__ import annotations

from tests.conformance.pods import FOREVER, Pods, state

MISSING = {"image": "registry.invalid/missing:1"}


def test_an_image_that_cannot_be_pulled_backs_off(pods: Pods) -> None:
    name = pods.run(FOREVER, container=MISSING)

    pod = pods.wait(
        name, lambda pod: state(pod, "waiting").get("reason") in ("ErrImagePull", "ImagePullBackOff")
    )
    assert pod["status"]["phase"] == "Pending"
    pod = pods.wait(name, lambda pod: state(pod, "waiting").get("reason") == "ImagePullBackOff")
    assert MISSING["image"] in state(pod, "waiting")["message"]
    event = pods.event(name, "Failed", f'Failed to pull image "{MISSING["image"]}"')
    assert event["type"] == "Warning"


def test_an_image_that_must_be_there_is_not_pulled(pods: Pods) -> None:
    name = pods.run(FOREVER, container={**MISSING, "imagePullPolicy": "Never"})

    pod = pods.wait(name, lambda pod: state(pod, "waiting").get("reason") == "ErrImageNeverPull")
    assert pod["status"]["phase"] == "Pending"


def test_a_name_that_is_none_is_told(pods: Pods) -> None:
    name = pods.run(FOREVER, container={"image": "Not a name"})

    pods.wait(name, lambda pod: state(pod, "waiting").get("reason") == "InvalidImageName")


def test_a_pod_recovers_with_another_image(pods: Pods) -> None:
    name = pods.run(FOREVER, container=MISSING)
    pods.wait(name, lambda pod: state(pod, "waiting").get("reason") in ("ErrImagePull", "ImagePullBackOff"))

    change = {"spec": {"containers": [{"name": "main", "image": pods.image}]}}
    pods.kube.patch("pods", name, change, pods.namespace, kind="strategic")

    pods.ready(name)


def test_a_missing_command_is_told(pods: Pods) -> None:
    name = pods.run(["/no/such/program"])

    # Some container runtimes look for the program before there is a container.
    pod = pods.wait(
        name,
        lambda pod: state(pod, "terminated") or state(pod, "waiting").get("reason") == "CreateContainerError",
    )
    told = state(pod, "terminated") or state(pod, "waiting")
    assert "/no/such/program" in told["message"]
    if state(pod, "terminated"):
        assert pods.finished(name)["status"]["phase"] == "Failed"
        assert told["exitCode"] in (127, 128)
        assert told["reason"] in ("StartError", "ContainerCannotRun")
