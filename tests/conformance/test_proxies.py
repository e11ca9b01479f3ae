"""Pods and services through the API server, and ports of theirs on this machine.

https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/#manually-constructing-apiserver-proxy-urls
"""

from __future__ import annotations

import httpx
import kr8s
import pytest
from kr8s.objects import Pod, Service

from tests.conformance.manifests import service
from tests.conformance.pods import Pods
from tests.conformance.waiting import eventually
from tests.harness.kube import Kube, Refused


@pytest.fixture(scope="module")
def web(kube: Kube, pods: Pods) -> str:
    """A pod that answers at 8080, and a service of the same name whose port 80 leads there."""
    name = pods.serve(8080)
    ports = ({"port": 80, "targetPort": 8080, "name": "web"}, {"port": 8081, "name": "nothing"})
    kube.create(service(name, {"app": name}, *ports), pods.namespace)
    path = f"{kube.path('services', pods.namespace, f'{name}:web', 'proxy')}/"
    eventually(lambda: kube.http.get(path).status_code, until=lambda code: code == 200)
    return name


@pytest.mark.parametrize("name", ["{web}:80", "{web}:web", "http:{web}:80", "http:{web}:web"])
def test_a_service_answers_through_the_api_server(kube: Kube, pods: Pods, web: str, name: str) -> None:
    path = kube.path("services", pods.namespace, name.format(web=web), "proxy")

    answer = kube.request("GET", f"{path}/some/path?a=1&b=two%20words")

    assert (answer["method"], answer["path"]) == ("GET", "/some/path?a=1&b=two%20words")
    assert answer["pod"] == web


@pytest.mark.parametrize("name", ["{web}:8080", "http:{web}:8080"])
def test_a_pod_answers_through_the_api_server(kube: Kube, pods: Pods, web: str, name: str) -> None:
    path = kube.path("pods", pods.namespace, name.format(web=web), "proxy")

    assert kube.request("GET", f"{path}/some/path")["path"] == "/some/path"


def test_other_methods_bodies_and_headers_pass(kube: Kube, pods: Pods, web: str) -> None:
    path = f"{kube.path('services', pods.namespace, f'{web}:80', 'proxy')}/api"

    for method in ("POST", "PUT", "DELETE"):
        answer = kube.request(method, path, content="hello", headers={"X-Asked": "yes"})
        assert (answer["method"], answer["body"], answer["headers"]["x-asked"]) == (method, "hello", "yes")
        # Credentials are for the API server alone.
        assert "authorization" not in answer["headers"]


def test_what_is_answered_passes_back(kube: Kube, pods: Pods, web: str) -> None:
    path = f"{kube.path('services', pods.namespace, f'{web}:80', 'proxy')}/teapot"

    response = kube.http.get(path)

    assert (response.status_code, response.json()["path"]) == (418, "/teapot")


def test_a_service_without_endpoints_is_unavailable(kube: Kube, pods: Pods, name: str) -> None:
    kube.create(service(name, {"of": "nothing"}), pods.namespace)

    with pytest.raises(Refused, match=f'no endpoints available for service "{name}') as refused:
        kube.request("GET", f"{kube.path('services', pods.namespace, f'{name}:80', 'proxy')}/")

    assert (refused.value.code, refused.value.reason) == (503, "ServiceUnavailable")


def test_a_port_where_nobody_listens_is_an_error(kube: Kube, pods: Pods, web: str) -> None:
    for resource, name in (("services", f"{web}:nothing"), ("pods", f"{web}:8081")):
        response = kube.http.get(f"{kube.path(resource, pods.namespace, name, 'proxy')}/")
        assert response.status_code in (500, 502, 503)


def test_what_is_missing_is_not_found(kube: Kube, pods: Pods) -> None:
    for resource in ("services", "pods"):
        response = kube.http.get(f"{kube.path(resource, pods.namespace, 'nothing:80', 'proxy')}/")
        assert response.status_code == 404


def test_a_port_of_a_pod_is_forwarded(api: kr8s.Api, pods: Pods, web: str, free_port: int) -> None:
    pod = Pod.get(web, namespace=pods.namespace, api=api)

    with pod.portforward(remote_port=8080, local_port=free_port) as port:
        for path in ("/one", "/two"):
            answer = httpx.get(f"http://127.0.0.1:{port}{path}", timeout=30).json()
            assert (answer["pod"], answer["path"]) == (web, path)


def test_a_port_of_a_service_is_forwarded(api: kr8s.Api, pods: Pods, web: str, free_port: int) -> None:
    found = Service.get(web, namespace=pods.namespace, api=api)

    with found.portforward(remote_port=8080, local_port=free_port) as port:
        assert httpx.get(f"http://127.0.0.1:{port}/", timeout=30).json()["pod"] == web


def test_a_large_answer_passes_the_forwarded_port(
    api: kr8s.Api, pods: Pods, web: str, free_port: int
) -> None:
    pod = Pod.get(web, namespace=pods.namespace, api=api)
    large = "x" * 1_000_000

    with pod.portforward(remote_port=8080, local_port=free_port) as port:
        assert httpx.post(f"http://127.0.0.1:{port}/", content=large, timeout=60).json()["body"] == large
