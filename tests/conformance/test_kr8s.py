"""What kr8s documents, and what of it clients of Dask clusters use.

https://docs.kr8s.org/
"""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import kr8s
import pytest
import yaml
from kr8s.objects import ConfigMap, Deployment, Pod, Service, new_class, objects_from_files

from tests.conformance.gadgets import gadget
from tests.conformance.manifests import config_map, service
from tests.conformance.pods import FOREVER, Pods, shell
from tests.conformance.waiting import eventually
from tests.harness.kube import Kube

pytestmark = pytest.mark.filterwarnings("ignore:Kubernetes version .* is not supported:UserWarning")
"""kr8s knows the releases that were there before it."""

Gadget = new_class(kind="Gadget", version="conformance.example.com/v1", namespaced=True, plural="gadgets")
Gadget.scalable = True
Gadget.scalable_spec = "replicas"


def test_the_version_and_the_user_are_told(api: kr8s.Api) -> None:
    assert api.version()["major"] == "1"
    assert api.whoami()


def test_resources_are_discovered(api: kr8s.Api, gadgets: str) -> None:
    found = eventually(
        lambda: {one["name"]: one for one in api.api_resources()},
        until=lambda resources: "gadgets" in resources,
    )

    assert found["pods"]["namespaced"]
    assert found["gadgets"]["kind"] == "Gadget"


def test_objects_are_created_read_changed_and_deleted(api: kr8s.Api, namespace: str, name: str) -> None:
    created = ConfigMap(config_map(name, {"a": "1"}, namespace=namespace), api=api)
    assert not created.exists()
    created.create()
    assert created.exists()

    found = ConfigMap.get(name, namespace=namespace, api=api)
    assert found.data == {"a": "1"}
    found.patch({"data": {"b": "2"}})
    assert found.data == {"a": "1", "b": "2"}
    found.label(of=name)
    found.annotate({"example.com/note": "hello"})
    created.refresh()
    assert (created.labels, created.annotations) == ({"of": name}, {"example.com/note": "hello"})
    found.remove_label("of")
    created.refresh()
    assert created.labels == {}

    created.delete()
    created.wait("delete", timeout=120)
    assert not created.exists()


def test_objects_are_listed_and_selected(api: kr8s.Api, namespace: str, name: str) -> None:
    for number in range(3):
        labels = {"of": name, "number": str(number)}
        ConfigMap(config_map(f"{name}-{number}", namespace=namespace, labels=labels), api=api).create()

    def names(**selection: object) -> list[str]:
        return sorted(one.name for one in api.get("configmaps", namespace=namespace, **selection))

    assert names(label_selector={"of": name}) == [f"{name}-{number}" for number in range(3)]
    assert names(label_selector=f"of={name},number in (0,2)") == [f"{name}-0", f"{name}-2"]
    assert names(field_selector=f"metadata.name={name}-1") == [f"{name}-1"]
    assert [one.name for one in api.get("configmaps", f"{name}-1", namespace=namespace)] == [f"{name}-1"]
    assert f"{name}-1" in [one.name for one in api.get("configmaps", namespace=kr8s.ALL)]


def test_what_is_missing_raises(api: kr8s.Api, namespace: str, name: str) -> None:
    with pytest.raises(kr8s.NotFoundError):
        ConfigMap.get(name, namespace=namespace, api=api, timeout=1)
    gone = ConfigMap(config_map(name, namespace=namespace), api=api)
    with pytest.raises(kr8s.NotFoundError):
        gone.delete()


def test_a_conflict_raises_with_its_answer(api: kr8s.Api, namespace: str, name: str) -> None:
    ConfigMap(config_map(name, namespace=namespace), api=api).create()

    with pytest.raises(kr8s.ServerError, match="already exists") as failed:
        ConfigMap(config_map(name, namespace=namespace), api=api).create()

    assert failed.value.response is not None
    assert failed.value.response.status_code == 409


def test_custom_resources_have_classes(api: kr8s.Api, namespace: str, gadgets: str, name: str) -> None:
    created = Gadget(gadget(name, metadata={"namespace": namespace}), api=api)
    created.create()

    assert created.spec.replicas == 1
    created.scale(3)
    assert Gadget.get(name, namespace=namespace, api=api).replicas == 3
    created.patch({"status": {"phase": "Ready"}}, subresource="status")
    created.wait("jsonpath='{.status.phase}'=Ready", timeout=120)
    assert [one.name for one in api.get("gadgets.conformance.example.com", namespace=namespace)] == [name]


def test_owners_are_set(api: kr8s.Api, kube: Kube, namespace: str, name: str) -> None:
    owner = ConfigMap(config_map(name, namespace=namespace), api=api)
    owner.create()
    child = ConfigMap(config_map(f"{name}-child", namespace=namespace), api=api)
    child.create()

    owner.adopt(child)
    owner.delete(propagation_policy="Foreground")

    kube.gone("configmaps", f"{name}-child", namespace)


def test_changes_are_watched(api: kr8s.Api, kube: Kube, namespace: str, name: str) -> None:
    kube.create(config_map(name, labels={"of": name}), namespace)

    seen = []
    for kind, found in api.watch("configmaps", namespace=namespace, label_selector={"of": name}):
        seen.append((kind, found.name))
        if kind == "ADDED":
            kube.patch("configmaps", name, {"data": {"a": "1"}}, namespace)
        elif kind == "MODIFIED":
            kube.delete("configmaps", name, namespace)
        else:
            break

    assert seen == [("ADDED", name), ("MODIFIED", name), ("DELETED", name)]


def test_server_side_apply_is_called_by_hand(
    kubeconfig: Path, kube: Kube, namespace: str, gadgets: str, name: str
) -> None:
    async def apply() -> None:
        client = await kr8s.asyncio.api(kubeconfig=str(kubeconfig))
        async with client.call_api(
            "PATCH",
            version="conformance.example.com/v1",
            url=f"gadgets/{name}",
            namespace=namespace,
            params={"fieldManager": "kr8s", "force": "true"},
            headers={"Content-Type": "application/apply-patch+yaml"},
            content=yaml.safe_dump(gadget(name)).encode(),
        ) as response:
            assert response.status_code == 201
        # kr8s closes no connections by itself.
        await client._session.aclose()

    in_a_thread_of_its_own(apply)

    assert kube.get(gadgets, name, namespace)["metadata"]["managedFields"][0]["manager"] == "kr8s"


def in_a_thread_of_its_own(coroutine: object) -> None:
    """Run a coroutine in a new event loop, apart from that of kr8s's synchronous calls."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(coroutine())  # type: ignore[operator]
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def test_a_pod_is_waited_for_and_read(api: kr8s.Api, pods: Pods) -> None:
    name = pods.run(shell("for i in 1 2 3; do echo $i; done; exec sleep 3600"))
    pod = Pod.get(name, namespace=pods.namespace, api=api)

    pod.wait("condition=Ready", timeout=120)

    assert pod.ready()
    assert eventually(lambda: list(pod.logs()), until=lambda lines: len(lines) == 3) == ["1", "2", "3"]
    assert list(pod.logs(tail_lines=1)) == ["3"]
    followed = pod.logs(follow=True)
    assert [next(followed) for _ in range(3)] == ["1", "2", "3"]
    followed.close()


def test_pods_are_made_in_short(api: kr8s.Api, pods: Pods, name: str) -> None:
    pod = Pod.gen(
        name=name,
        image=pods.image,
        namespace=pods.namespace,
        command=["sleep", "3600"],
        image_pull_policy="IfNotPresent",
    )
    pod.api = api
    pod.create()
    pod.wait("condition=Ready", timeout=120)

    pod.delete(grace_period=0)
    pod.wait("delete", timeout=120)


def test_a_deployment_is_scaled_and_has_pods(api: kr8s.Api, pods: Pods, name: str) -> None:
    labels = {"app": name}
    spec = {"terminationGracePeriodSeconds": 1, "containers": [pods.container(FOREVER)]}
    deployment = Deployment(
        {
            "metadata": {"name": name, "namespace": pods.namespace},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": spec},
            },
        },
        api=api,
    )
    deployment.create()
    deployment.wait("condition=Available", timeout=120)

    assert [pod.status.phase for pod in deployment.pods()] == ["Running"]
    deployment.scale(2)
    eventually(lambda: (deployment.refresh(), deployment.ready())[1])
    assert deployment.replicas == 2
    deployment.delete()


def test_a_service_knows_its_pods_and_is_asked_through_the_api_server(
    api: kr8s.Api, pods: Pods, kube: Kube
) -> None:
    name = pods.serve(8080)
    kube.create(service(name, {"app": name}, {"port": 8080, "name": "http"}), pods.namespace)
    found = Service.get(name, namespace=pods.namespace, api=api)

    assert [pod.name for pod in found.ready_pods()] == [name]
    answer = eventually(
        lambda: found.proxy_http_get("/hello", port=8080), until=lambda one: one.status_code == 200
    )
    assert answer.json()["path"] == "/hello"


def test_manifests_are_read_from_files(api: kr8s.Api, namespace: str, name: str, tmp_path: object) -> None:
    path = f"{tmp_path}/manifests.yaml"
    manifests = [config_map(f"{name}-{number}", namespace=namespace) for number in range(2)]
    with open(path, "w", encoding="utf-8") as file:
        yaml.safe_dump_all(manifests, file)

    for found in objects_from_files(path, api=api):
        found.create()

    assert ConfigMap.get(f"{name}-1", namespace=namespace, api=api).exists()
