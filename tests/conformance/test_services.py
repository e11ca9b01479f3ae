"""What the API server makes of a Service.

https://kubernetes.io/docs/concepts/services-networking/service/
"""

from __future__ import annotations

import ipaddress

import pytest

from tests.conformance.manifests import causes, service
from tests.harness.kube import Kube, Object, Refused


def test_a_service_has_defaults(kube: Kube, namespace: str, name: str) -> None:
    spec = kube.create(service(name, {"app": name}, {"port": 80}), namespace)["spec"]

    expected = {
        "type": "ClusterIP",
        "selector": {"app": name},
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
    }
    assert spec == {**spec, **expected}
    assert spec["ipFamilyPolicy"]
    assert spec["ipFamilies"]


def test_a_service_gets_an_address_of_its_own(kube: Kube, namespace: str, name: str) -> None:
    services = [kube.create(service(f"{name}-{number}"), namespace)["spec"] for number in range(2)]

    addresses = [ipaddress.ip_address(spec["clusterIP"]) for spec in services]
    assert len(set(addresses)) == 2
    assert [spec["clusterIPs"][0] for spec in services] == [spec["clusterIP"] for spec in services]


def test_a_headless_service_gets_none(kube: Kube, namespace: str, name: str) -> None:
    spec = kube.create(service(name, clusterIP="None"), namespace)["spec"]

    assert (spec["clusterIP"], spec["clusterIPs"]) == ("None", ["None"])


def test_a_node_port_is_chosen(kube: Kube, namespace: str, name: str) -> None:
    spec = kube.create(service(name, type="NodePort"), namespace)["spec"]

    assert 30000 <= spec["ports"][0]["nodePort"] <= 32767
    assert spec["externalTrafficPolicy"] == "Cluster"


def test_a_load_balancer_has_node_ports_too(kube: Kube, namespace: str, name: str) -> None:
    created = kube.create(service(name, type="LoadBalancer"), namespace)

    assert created["spec"]["ports"][0]["nodePort"]
    assert created["spec"]["allocateLoadBalancerNodePorts"] is True
    assert created["status"] == {"loadBalancer": {}}


def test_an_external_name_has_no_address(kube: Kube, namespace: str, name: str) -> None:
    manifest = service(name, type="ExternalName", externalName="example.com")
    del manifest["spec"]["ports"]

    assert "clusterIP" not in kube.create(manifest, namespace)["spec"]


def test_the_address_stays(kube: Kube, namespace: str, name: str) -> None:
    created = kube.create(service(name), namespace)

    patched = kube.patch("services", name, {"spec": {"ports": [{"port": 81}]}}, namespace)
    assert patched["spec"]["clusterIP"] == created["spec"]["clusterIP"]
    without = {key: value for key, value in created["spec"].items() if not key.startswith("clusterIP")}
    metadata = {"name": name, "namespace": namespace}
    assert (
        kube.update({**created, "metadata": metadata, "spec": without})["spec"]["clusterIP"]
        == created["spec"]["clusterIP"]
    )


def test_the_address_cannot_be_changed(kube: Kube, namespace: str, name: str) -> None:
    kube.create(service(name), namespace)

    with pytest.raises(Refused, match="may not change once set") as refused:
        kube.patch("services", name, {"spec": {"clusterIP": "None", "clusterIPs": ["None"]}}, namespace)

    assert (refused.value.code, refused.value.reason) == (422, "Invalid")
    assert all(field.startswith("spec.clusterIP") for field in causes(refused.value.status))


def test_the_type_can_be_changed(kube: Kube, namespace: str, name: str) -> None:
    created = kube.create(service(name), namespace)["spec"]

    patched = kube.patch("services", name, {"spec": {"type": "NodePort"}}, namespace)["spec"]
    assert patched["clusterIP"] == created["clusterIP"]
    assert patched["ports"][0]["nodePort"]
    patched = kube.patch("services", name, {"spec": {"type": "ClusterIP"}}, namespace)["spec"]
    assert "nodePort" not in patched["ports"][0]


@pytest.mark.parametrize(
    ("ports", "field", "reason"),
    [
        ([{"port": 80}, {"port": 81}], "spec.ports[0].name", "FieldValueRequired"),
        ([{"port": 80, "name": "a"}, {"port": 81, "name": "a"}], "spec.ports[1].name", "FieldValueDuplicate"),
        ([{"port": 0}], "spec.ports[0].port", "FieldValueInvalid"),
        ([{"port": 99999}], "spec.ports[0].port", "FieldValueInvalid"),
        ([{"port": 80, "protocol": "ICMP"}], "spec.ports[0].protocol", "FieldValueNotSupported"),
        ([{"port": 80, "targetPort": "Not a name"}], "spec.ports[0].targetPort", "FieldValueInvalid"),
        ([{"port": 80, "name": "Not_a_name"}], "spec.ports[0].name", "FieldValueInvalid"),
    ],
)
def test_ports_are_validated(
    kube: Kube, namespace: str, name: str, ports: list[Object], field: str, reason: str
) -> None:
    with pytest.raises(Refused) as refused:
        kube.create(service(name, {}, *ports), namespace)

    assert (refused.value.code, refused.value.reason) == (422, "Invalid")
    assert causes(refused.value.status).get(field) == reason, refused.value


def test_a_service_needs_ports_unless_headless(kube: Kube, namespace: str, name: str) -> None:
    with pytest.raises(Refused) as refused:
        kube.create({**service(name), "spec": {"ports": []}}, namespace)
    assert causes(refused.value.status) == {"spec.ports": "FieldValueRequired"}

    kube.create({**service(name), "spec": {"clusterIP": "None"}}, namespace)


def test_an_unknown_type_is_refused(kube: Kube, namespace: str, name: str) -> None:
    with pytest.raises(Refused) as refused:
        kube.create(service(name, type="Magic"), namespace)

    assert causes(refused.value.status).get("spec.type") == "FieldValueNotSupported"
