"""Names of Services, and who answers behind them, as pods see it.

https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/
"""

from __future__ import annotations

import json

import pytest

from tests.conformance.manifests import service
from tests.conformance.pods import ECHO_SERVER, FOREVER, Pods, python
from tests.harness.kube import Kube, Object

ASK = """
    import sys, time, urllib.request
    for attempt in range(900):
        try:
            with urllib.request.urlopen(sys.argv[1], timeout=5) as answer:
                print(answer.read().decode())
            break
        except OSError as error:
            last = error
            time.sleep(0.1)
    else:
        raise last
"""
RESOLVE = """
    import socket, sys, time
    for attempt in range(900):
        found = set()
        try:
            found = {found[4][0] for found in socket.getaddrinfo(sys.argv[1], 80, type=socket.SOCK_STREAM)}
        except OSError:
            pass
        if len(found) == int(sys.argv[2]):
            break
        time.sleep(0.1)
    print(*sorted(found))
"""


def ask(pods: Pods, url: str) -> Object:
    """Ask from a pod, again and again until there is an answer."""
    return json.loads(pods.output(pods.run([*python(ASK), url])))


@pytest.fixture(scope="module")
def web(kube: Kube, pods: Pods) -> str:
    """A service, called as the pod that answers: port 8080 is the pod's own, 80 leads to it."""
    name = pods.serve(8080)
    ports = ({"port": 8080, "name": "same"}, {"port": 80, "targetPort": "http", "name": "mapped"})
    kube.create(service(name, {"app": name}, *ports), pods.namespace)
    return name


@pytest.mark.parametrize("name", ["{service}", "{service}.{namespace}", "{service}.{namespace}.svc"])
def test_a_service_is_found_by_name(pods: Pods, web: str, name: str) -> None:
    host = name.format(service=web, namespace=pods.namespace)

    assert ask(pods, f"http://{host}:8080/hello")["pod"] == web


def test_a_port_of_a_service_leads_to_another_of_the_pod(pods: Pods, web: str) -> None:
    assert ask(pods, f"http://{web}:80/hello")["pod"] == web


def test_a_service_is_found_by_its_address(kube: Kube, pods: Pods, web: str) -> None:
    address = kube.get("services", web, pods.namespace)["spec"]["clusterIP"]

    assert ask(pods, f"http://{address}:80/hello")["pod"] == web


def test_a_pod_is_found_by_its_address(pods: Pods, web: str) -> None:
    address = pods.ready(web)["status"]["podIP"]

    assert ask(pods, f"http://{address}:8080/hello")["pod"] == web


def test_a_service_is_found_from_another_namespace(
    kube: Kube, pods: Pods, fresh_namespace: str, web: str
) -> None:
    elsewhere = Pods(kube, fresh_namespace, pods.image)

    assert ask(elsewhere, f"http://{web}.{pods.namespace}.svc:80/hello")["pod"] == web


def test_a_name_in_another_namespace_is_another(
    kube: Kube, pods: Pods, fresh_namespace: str, web: str
) -> None:
    elsewhere = Pods(kube, fresh_namespace, pods.image)
    code = """
        import socket, sys
        try:
            print(socket.gethostbyname(sys.argv[1]))
        except socket.gaierror:
            print("unknown")
    """

    assert elsewhere.output(elsewhere.run([*python(code), web])) == "unknown\n"


def test_the_service_of_the_api_server_has_a_name(kube: Kube, pods: Pods) -> None:
    address = kube.get("services", "kubernetes", "default")["spec"]["clusterIP"]
    name = pods.run([*python(RESOLVE), "kubernetes.default.svc", "1"])

    assert pods.output(name).split() == [address]


def test_a_headless_service_is_the_addresses_of_its_pods(kube: Kube, pods: Pods, name: str) -> None:
    members = [pods.run(FOREVER, metadata={"labels": {"of": name}}) for _ in range(2)]
    kube.create(service(name, {"of": name}, clusterIP="None"), pods.namespace)
    addresses = {pods.ready(member)["status"]["podIP"] for member in members}

    asking = pods.run([*python(RESOLVE), name, "2"])

    assert set(pods.output(asking).split()) == addresses


def test_a_replaced_pod_is_found_under_the_same_name(kube: Kube, pods: Pods, name: str) -> None:
    kube.create(service(name, {"of": name}, {"port": 80, "targetPort": 8080}), pods.namespace)
    first = pods.serve(8080, metadata={"labels": {"of": name}})
    assert ask(pods, f"http://{name}/")["pod"] == first

    kube.delete("pods", first, pods.namespace)
    kube.gone("pods", first, pods.namespace)
    second = pods.serve(8080, metadata={"labels": {"of": name}})

    assert ask(pods, f"http://{name}/")["pod"] == second


def test_a_service_leaves_out_pods_that_are_not_ready(kube: Kube, pods: Pods, name: str) -> None:
    kube.create(service(name, {"of": name}, {"port": 80, "targetPort": 8080}), pods.namespace)
    never = {"readinessProbe": {"exec": {"command": ["false"]}, "periodSeconds": 1}}
    # It would answer, but isn't to be asked.
    pods.run([*python(ECHO_SERVER), "8080"], metadata={"labels": {"of": name}}, container=never)
    ready = pods.serve(8080, metadata={"labels": {"of": name}})

    for _ in range(3):
        assert ask(pods, f"http://{name}/")["pod"] == ready
