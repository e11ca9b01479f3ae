"""Changed specs reach the pods by the update strategy, and nothing else restarts them."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from distributed import Client, wait

from dask_k8s_client import KubeCluster
from dask_k8s_controller.cluster import children
from dask_k8s_controller.plans.metadata import with_env
from dask_k8s_controller.worker_group import children as worker_children
from tests.e2e.conftest import DASK_CLUSTERS, pods_of
from tests.harness.embedded import EmbeddedController
from tests.harness.flows import (
    CLUSTERS,
    NAME,
    Shape,
    Stage,
    await_shape,
    change,
    create,
    manifest,
    of,
    pods_created_since,
    version_of_pods,
)
from tests.harness.kube import Kube, Object
from tests.harness.lab import Lab, a_lab
from tests.harness.proxy import ApiProxy
from tests.harness.worker_tasks import sent_to

Manifest = Callable[..., Object]

pytestmark = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    with a_lab(request) as found:
        yield found


@contextlib.contextmanager
def running(lab: Lab) -> Iterator[EmbeddedController]:
    with (
        ApiProxy(lab.kubeconfig) as proxy,
        EmbeddedController(proxy.kubeconfig, lab.schedulers) as controller,
    ):
        yield controller


def new_container(**changes: object) -> Callable[[Stage], object]:
    def act(stage: Stage) -> object:
        containers = stage.kube.get(CLUSTERS, NAME, stage.namespace)["spec"]["worker"]["spec"]["containers"]
        containers[0] |= changes
        return change({"worker": {"spec": {"containers": containers}}})(stage)

    return act


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


@pytest.mark.parametrize(
    ("unavailable", "at_least"),
    [(1, 3), pytest.param(2, 2, marks=pytest.mark.full), pytest.param("50%", 2, marks=pytest.mark.full)],
)
def test_never_more_than_max_unavailable_are_away(lab: Lab, unavailable: int | str, at_least: int) -> None:
    """For each kind of change, as seen by a watch of all pods."""
    with running(lab), lab.stage() as stage:
        body = manifest(4)
        rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": unavailable}}
        body["spec"]["worker"]["updateStrategy"] = rolling
        lab.kube.create(body, stage.namespace)
        await_shape(stage, Shape(of(4)))
        for changes in CHANGES.values():
            version = version_of_pods(stage)
            pods = {
                pod["metadata"]["name"]: pod for pod in pods_of(lab.kube, NAME, stage.namespace, "worker")
            }
            new_container(**changes)(stage)
            lowest = len(pods)
            for event, pod in lab.kube.watch("pods", stage.namespace, resourceVersion=version):
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


def test_on_delete_leaves_it_to_the_user(lab: Lab) -> None:
    with running(lab) as controller, lab.stage() as stage:
        body = manifest(2)
        body["spec"]["worker"]["updateStrategy"] = {"type": "OnDelete"}
        lab.kube.create(body, stage.namespace)
        await_shape(stage, Shape(of(2)))
        version = version_of_pods(stage)

        new_container(image="daskdev/dask:2")(stage)
        await_shape(stage, Shape(of(2)))
        controller.rest()
        assert pods_created_since(stage, version) == []

        old = pods_of(lab.kube, NAME, stage.namespace, "worker")[0]["metadata"]["name"]
        lab.kube.delete("pods", old, stage.namespace)
        lab.kube.wait_all("pods", stage.namespace, until=lambda pods: len(pods) == 3 and old not in pods)
        images = [
            pod["spec"]["containers"][0]["image"]
            for pod in pods_of(lab.kube, NAME, stage.namespace, "worker")
        ]
        assert sorted(images) == ["daskdev/dask:1", "daskdev/dask:2"]


def test_another_version_of_the_controller_restarts_nothing(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One whose pods get other environment variables, routes, and one more default."""
    with lab.stage() as stage:
        with running(lab):
            create(2)(stage)
            await_shape(stage, Shape(of(2)))
        before = {pod["metadata"]["uid"] for pod in pods_of(lab.kube, NAME, stage.namespace)}
        version = version_of_pods(stage)

        original_pod, original_scheduler = worker_children.WorkerTemplate.pod, children.scheduler_pod

        def pod(self: worker_children.WorkerTemplate, name: str) -> Object:
            body = original_pod(self, name)
            containers = [
                with_env(container, {"DASK_NEW_IN_THIS_VERSION": "1"})
                for container in body["spec"]["containers"]
            ]
            return {**body, "spec": {**body["spec"], "containers": containers, "priority": 0}}

        def scheduler_pod(*args: object, **kwargs: object) -> Object:
            body = original_scheduler(*args, **kwargs)  # type: ignore[arg-type]
            container = body["spec"]["containers"][0]
            body["spec"]["containers"][0] = with_env(container, {"DASK_NEW_IN_THIS_VERSION": "1"})
            return body

        monkeypatch.setattr(worker_children.WorkerTemplate, "pod", pod)
        monkeypatch.setattr(children, "scheduler_pod", scheduler_pod)
        with running(lab) as controller:
            controller.rest()
            assert pods_created_since(stage, version) == []
            assert {pod["metadata"]["uid"] for pod in pods_of(lab.kube, NAME, stage.namespace)} == before
            # It is another version indeed: what it creates is different.
            change({"worker": {"replicas": 3}})(stage)
            await_shape(stage, Shape(of(3)))
            new = [
                pod
                for pod in pods_of(lab.kube, NAME, stage.namespace)
                if pod["metadata"]["uid"] not in before
            ]
            assert len(new) == 1
            assert {"name": "DASK_NEW_IN_THIS_VERSION", "value": "1"} in new[0]["spec"]["containers"][0][
                "env"
            ]


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
