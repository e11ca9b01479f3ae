"""Changed specs reach the pods by the update strategy, and nothing else restarts them."""

from __future__ import annotations

from collections import Counter

import pytest
from distributed import Client, wait

from dask_k8s_client import KubeCluster
from dask_k8s_controller.cluster import children
from dask_k8s_controller.plans.metadata import with_env
from dask_k8s_controller.worker_group import children as worker_children
from tests.e2e.conftest import DASK_CLUSTERS, pods_of
from tests.harness.flows import (
    GROUPS,
    NAME,
    Shape,
    await_shape,
    change_container,
    create,
    manifest,
    of,
    pods_created_since,
    scale,
    version_of_pods,
)
from tests.harness.kube import Kube, Object
from tests.harness.lab import Lab, Stage
from tests.harness.worker_tasks import sent_to

CHANGES = {
    "image": {"image": "daskdev/dask:2"},
    "env": {"env": [{"name": "CHANGED", "value": "yes"}]},
    "args": {"args": ["dask", "worker", "--name", "$(DASK_WORKER_NAME)", "--nthreads", "1"]},
    "resources": {"resources": {"requests": {"cpu": "10m"}}},
}


def has(pod: Object, changes: dict[str, object]) -> bool:
    container = pod["spec"]["containers"][0]
    env = changes.get("env", [])
    assert isinstance(env, list)
    rest = {key: value for key, value in changes.items() if key != "env"}
    return all(container.get(key) == value for key, value in rest.items()) and all(
        item in container["env"] for item in env
    )


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    ("unavailable", "at_least"),
    [(1, 3), pytest.param(2, 2, marks=pytest.mark.full), pytest.param("50%", 2, marks=pytest.mark.full)],
)
def test_never_more_than_max_unavailable_are_away(
    stage: Stage, unavailable: int | str, at_least: int
) -> None:
    """For each kind of change, as seen by a watch of all pods."""
    body = manifest(4)
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": unavailable}}
    body["spec"]["worker"]["updateStrategy"] = rolling
    stage.kube.create(body, stage.namespace)
    await_shape(stage, Shape(of(4)))
    for changes in CHANGES.values():
        version = version_of_pods(stage)
        pods = {pod["metadata"]["name"]: pod for pod in pods_of(stage.kube, NAME, stage.namespace, "worker")}
        change_container(**changes)(stage)
        lowest = len(pods)
        for event, pod in stage.kube.watch("pods", stage.namespace, resourceVersion=version):
            if pod["metadata"]["labels"]["dask.org/component"] != "worker":
                continue
            pods[pod["metadata"]["name"]] = pod
            if event == "DELETED":
                del pods[pod["metadata"]["name"]]
            available = [found for found in pods.values() if is_available(found)]
            lowest = min(lowest, len(available))
            if len(available) == len(pods) == 4 and all(has(found, changes) for found in available):
                break
        assert lowest >= at_least, f"{changes}: only {lowest} were left at one time"
        await_shape(stage, Shape(of(4)))


def is_available(pod: Object) -> bool:
    return "deletionTimestamp" not in pod["metadata"] and any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in pod.get("status", {}).get("conditions", ())
    )


@pytest.mark.usefixtures("hasty")
def test_on_delete_leaves_it_to_the_user(stage: Stage) -> None:
    body = manifest(2)
    body["spec"]["worker"]["updateStrategy"] = {"type": "OnDelete"}
    stage.kube.create(body, stage.namespace)
    await_shape(stage, Shape(of(2)))
    version = version_of_pods(stage)

    change_container(image="daskdev/dask:2")(stage)
    stage.kube.wait(GROUPS, f"{NAME}-default", stage.namespace, until=has_seen_the_new_image)
    await_shape(stage, Shape(of(2)))
    assert pods_created_since(stage, version) == []

    old = pods_of(stage.kube, NAME, stage.namespace, "worker")[0]["metadata"]["name"]
    stage.kube.delete("pods", old, stage.namespace)
    stage.kube.wait_all("pods", stage.namespace, until=lambda pods: len(pods) == 3 and old not in pods)
    workers = pods_of(stage.kube, NAME, stage.namespace, "worker")
    images = [pod["spec"]["containers"][0]["image"] for pod in workers]
    assert sorted(images) == ["daskdev/dask:1", "daskdev/dask:2"]


def has_seen_the_new_image(group: Object) -> bool:
    """Whether the controller has reconciled a group since it was changed."""
    image = group["spec"]["worker"]["spec"]["containers"][0]["image"]
    is_seen = group.get("status", {}).get("observedGeneration") == group["metadata"]["generation"]
    return image == "daskdev/dask:2" and bool(is_seen)


ADDED = {"DASK_NEW_IN_THIS_VERSION": "1"}


def become_another_version() -> None:
    """Give pods other environment variables and one more default, as a controller to come may do."""
    original_worker, original_scheduler = worker_children.worker_pod, children.scheduler_pod

    def worker_pod(template: Object, name: str) -> Object:
        body = original_worker(template, name)
        containers = [with_env(container, ADDED) for container in body["spec"]["containers"]]
        return {**body, "spec": {**body["spec"], "containers": containers, "priority": 0}}

    def scheduler_pod(*args: object, **kwargs: object) -> Object:
        body = original_scheduler(*args, **kwargs)  # type: ignore[arg-type]
        body["spec"]["containers"][0] = with_env(body["spec"]["containers"][0], ADDED)
        return body

    worker_children.worker_pod = worker_pod
    children.scheduler_pod = scheduler_pod


def test_another_version_of_the_controller_restarts_nothing(lab: Lab, stage: Stage) -> None:
    with lab.controller(stage.namespace):
        create(2)(stage)
        await_shape(stage, Shape(of(2)))
    before = {pod["metadata"]["uid"] for pod in pods_of(stage.kube, NAME, stage.namespace)}
    version = version_of_pods(stage)

    with lab.controller(stage.namespace, before=become_another_version):
        scale(3)(stage)
        await_shape(stage, Shape(of(3)))
        assert len(pods_created_since(stage, version)) == 1
        pods = pods_of(stage.kube, NAME, stage.namespace)
        [new] = [pod for pod in pods if pod["metadata"]["uid"] not in before]
        # It is another version indeed: what it creates is different.
        assert {"name": "DASK_NEW_IN_THIS_VERSION", "value": "1"} in new["spec"]["containers"][0]["env"]
        assert {pod["metadata"]["uid"] for pod in pods} > before


@pytest.mark.usefixtures("protocol")
def test_results_outlive_a_rollout(kube: Kube, namespace: str, controller: object, dask_image: str) -> None:
    with (
        KubeCluster(name="kept", namespace=namespace, image=dask_image, n_workers=2, quiet=True) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(2, timeout=120)

        results = client.map(sent_to(client).make, range(20), pure=False)
        wait(results, timeout=120)
        containers = kube.get(DASK_CLUSTERS, "kept", namespace)["spec"]["worker"]["spec"]["containers"]
        containers[0]["env"] = [*containers[0].get("env", []), {"name": "CHANGED", "value": "yes"}]
        kube.patch(
            DASK_CLUSTERS, "kept", {"spec": {"worker": {"spec": {"containers": containers}}}}, namespace
        )
        kube.wait_all(
            "pods",
            namespace,
            until=lambda pods: (
                len(pods) == 2
                and all(
                    {"name": "CHANGED", "value": "yes"} in pod["spec"]["containers"][0]["env"]
                    for pod in pods.values()
                )
            ),
            labelSelector="dask.org/component=worker",
            timeout=300,
        )
        assert [number for number, _ in client.gather(results)] == [*range(20)]
        begun = Counter(message for _, message in client.get_events("begun"))
        assert begun == Counter(f"make {number}" for number in range(20))
