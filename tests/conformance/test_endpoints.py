"""Who stands behind a Service.

https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/
"""

from __future__ import annotations

from tests.conformance.manifests import service
from tests.conformance.pods import FOREVER, Pods
from tests.conformance.waiting import eventually
from tests.harness.kube import Kube, Object

SLICES = "endpointslices.discovery.k8s.io"


def slices(kube: Kube, namespace: str, name: str) -> list[Object]:
    return kube.list(SLICES, namespace, f"kubernetes.io/service-name={name}")


def endpoints(kube: Kube, namespace: str, name: str) -> dict[str, bool]:
    """Return the pods behind a service by name, and whether each is ready."""
    return {
        endpoint["targetRef"]["name"]: endpoint["conditions"]["ready"]
        for one in slices(kube, namespace, name)
        for endpoint in one.get("endpoints") or []
    }


def test_a_ready_pod_stands_behind_a_service(kube: Kube, pods: Pods, name: str) -> None:
    pod = pods.serve(8080, metadata={"labels": {"of": name}})
    ports = {"port": 80, "targetPort": "http", "name": "web"}
    created = kube.create(service(name, {"of": name}, ports), pods.namespace)

    eventually(lambda: endpoints(kube, pods.namespace, name), until=lambda found: found == {pod: True})

    [one] = slices(kube, pods.namespace, name)
    found = kube.get("pods", pod, pods.namespace)
    assert one["addressType"] in ("IPv4", "IPv6")
    assert one["metadata"]["ownerReferences"][0]["uid"] == created["metadata"]["uid"]
    assert one["ports"] == [{"name": "web", "port": 8080, "protocol": "TCP"}]
    [endpoint] = one["endpoints"]
    assert endpoint["addresses"] == [found["status"]["podIP"]]
    assert endpoint["nodeName"] == found["spec"]["nodeName"]
    assert endpoint["targetRef"]["kind"] == "Pod"
    assert endpoint["targetRef"]["uid"] == found["metadata"]["uid"]
    assert endpoint["conditions"] == {"ready": True, "serving": True, "terminating": False}


def test_a_pod_that_is_not_ready_is_marked(kube: Kube, pods: Pods, name: str) -> None:
    probe = {"exec": {"command": ["false"]}, "periodSeconds": 1}
    pod = pods.run(FOREVER, metadata={"labels": {"of": name}}, container={"readinessProbe": probe})
    kube.create(service(name, {"of": name}), pods.namespace)

    eventually(lambda: endpoints(kube, pods.namespace, name), until=lambda found: found == {pod: False})


def test_pods_come_and_go(kube: Kube, pods: Pods, name: str) -> None:
    kube.create(service(name, {"of": name}), pods.namespace)
    first, second = (pods.run(FOREVER, metadata={"labels": {"of": name}}) for _ in range(2))
    eventually(
        lambda: endpoints(kube, pods.namespace, name),
        until=lambda found: found == {first: True, second: True},
    )

    kube.delete("pods", first, pods.namespace)
    eventually(lambda: endpoints(kube, pods.namespace, name), until=lambda found: found == {second: True})
    kube.patch("pods", second, {"metadata": {"labels": {"of": "nothing"}}}, pods.namespace)
    eventually(lambda: endpoints(kube, pods.namespace, name), until=lambda found: found == {})


def test_a_selector_can_be_changed(kube: Kube, pods: Pods, name: str) -> None:
    pod = pods.run(FOREVER, metadata={"labels": {"of": name}})
    kube.create(service(name, {"of": "nothing"}), pods.namespace)

    kube.patch("services", name, {"spec": {"selector": {"of": name}}}, pods.namespace)

    eventually(lambda: endpoints(kube, pods.namespace, name), until=lambda found: found == {pod: True})


def test_slices_go_with_their_service(kube: Kube, pods: Pods, name: str) -> None:
    kube.create(service(name, {"of": name}), pods.namespace)
    eventually(lambda: slices(kube, pods.namespace, name))

    kube.delete("services", name, pods.namespace)

    eventually(lambda: slices(kube, pods.namespace, name), until=lambda found: found == [])


def test_the_old_endpoints_tell_the_same(kube: Kube, pods: Pods, name: str) -> None:
    pod = pods.run(FOREVER, metadata={"labels": {"of": name}})
    kube.create(service(name, {"of": name}, {"port": 80}), pods.namespace)

    found = kube.wait(
        "endpoints",
        name,
        pods.namespace,
        until=lambda one: any("addresses" in s for s in one.get("subsets", [])),
    )

    [subset] = found["subsets"]
    [address] = subset["addresses"]
    assert address["ip"] == kube.get("pods", pod, pods.namespace)["status"]["podIP"]
    assert address["targetRef"]["name"] == pod
    assert subset["ports"] == [{"port": 80, "protocol": "TCP"}]
