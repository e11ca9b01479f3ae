"""How a scheduler is reached."""

from __future__ import annotations

from typing import Any

import pytest

from dask_k8s_client import connect
from dask_k8s_client.connect import Direct, Forward, Node, Ports, Route
from dask_k8s_client.errors import ResourceTimeoutError
from tests.unit.client.objects import scheduler_pod, service

Json = dict[str, Any]

BALANCED = service("LoadBalancer", loadBalancer={"ingress": [{"ip": "1.2.3.4"}]})
NAMED = service("LoadBalancer", loadBalancer={"ingress": [{"hostname": "dask.example.com"}]})
PORTS = Ports(8786, 8787)


@pytest.mark.parametrize(
    ("found", "in_cluster", "port_forward", "expected"),
    [
        (service(), False, None, Forward()),
        (service(), False, True, Forward()),
        (service(), False, False, Direct("foo-scheduler.default", PORTS)),
        (service(), True, None, Direct("foo-scheduler.default.svc", PORTS)),
        (service(), True, True, Forward()),
        (BALANCED, False, None, Direct("1.2.3.4", PORTS)),
        (NAMED, False, None, Direct("dask.example.com", PORTS)),
        (BALANCED, True, None, Direct("foo-scheduler.default.svc", PORTS)),
        (BALANCED, False, True, Forward()),
        (service("NodePort"), False, None, Node(Ports(30786, 30787))),
        (service("NodePort"), True, None, Direct("foo-scheduler.default.svc", PORTS)),
    ],
)
def test_route(found: Json, in_cluster: bool, port_forward: bool | None, expected: Route) -> None:
    assert connect.route(found, in_cluster=in_cluster, port_forward=port_forward) == expected


def a_service(*ports: Json) -> Json:
    return {"metadata": {"name": "foo-scheduler", "namespace": "default"}, "spec": {"ports": list(ports)}}


@pytest.mark.parametrize(
    ("ports", "expected"),
    [
        ([{"name": "tcp-comm", "port": 9000}, {"name": "http-dashboard", "port": 9001}], Ports(9000, 9001)),
        ([{"name": "a", "port": 8786}, {"name": "b", "port": 8787}], Ports(8786, 8787)),
        ([{"port": 1234}], Ports(1234, None)),
        ([{"name": "other", "port": 8786}, {"name": "tcp-comm", "port": 9000}], Ports(9000, None)),
    ],
)
def test_ports_are_found_by_name_then_by_number(ports: list[Json], expected: Ports) -> None:
    assert connect.service_ports(a_service(*ports)) == expected


def test_a_service_without_a_port_for_the_scheduler_is_refused() -> None:
    with pytest.raises(ResourceTimeoutError, match="tcp-comm"):
        connect.service_ports(a_service({"name": "a", "port": 1}, {"name": "b", "port": 2}))


@pytest.mark.parametrize(
    ("target", "expected"), [("tcp-comm", 8786), (9999, 9999), ("9999", 9999), (None, 80)]
)
def test_target_ports_are_resolved_to_the_pods_own(target: Any, expected: int) -> None:
    entry = {"name": "tcp-comm", "port": 80} | ({} if target is None else {"targetPort": target})
    assert connect.pod_ports(a_service(entry), scheduler_pod()) == Ports(expected, None)


def test_a_target_port_that_no_container_has_is_named() -> None:
    entry = {"name": "tcp-comm", "port": 80, "targetPort": "comm"}
    with pytest.raises(ResourceTimeoutError, match="'comm'"):
        connect.pod_ports(a_service(entry), scheduler_pod())


def test_an_external_address_of_a_node_is_preferred() -> None:
    internal = {"status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}}
    external = {"status": {"addresses": [{"type": "ExternalIP", "address": "5.6.7.8"}]}}
    assert connect.node_host([internal, external]) == "5.6.7.8"
    assert connect.node_host([internal]) == "10.0.0.1"
    assert connect.node_host([]) is None


def test_ipv6_is_written_in_brackets() -> None:
    assert connect.address("fd00::1", 8786) == "tcp://[fd00::1]:8786"
    assert connect.address("localhost", 8786) == "tcp://localhost:8786"
