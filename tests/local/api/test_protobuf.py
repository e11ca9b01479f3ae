"""Protobuf, as far as kubectl insists on it; the bytes are what kubectl 1.32 sends."""

from __future__ import annotations

import pytest

from dask_k8s_local.api.http import protobuf
from dask_k8s_local.interfaces import ApiError
from tests.local.api.http import Http
from tests.local.api.objects import MAPS


def field(number: int, value: bytes | int) -> bytes:
    """Encode a field of a message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    encoded = b""
    while value > 0x7F:
        encoded += bytes([value & 0x7F | 0x80])
        value >>= 7
    return encoded + bytes([value])


def envelope(api_version: str, kind: str, message: bytes) -> bytes:
    head = field(1, field(1, api_version.encode()) + field(2, kind.encode()))
    return b"k8s\x00" + head + field(2, message) + field(3, b"") + field(4, b"")


OWN = field(1, field(1, b"one") + field(2, b"") + field(7, 0) + field(8, b""))


def test_strings_maps_and_nothing() -> None:
    data = field(2, field(1, b"a") + field(2, b"b"))
    assert protobuf.decoded(envelope("v1", "ConfigMap", OWN + data)) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "one"},
        "data": {"a": "b"},
    }


def test_bytes_are_base64_in_json() -> None:
    data = field(2, field(1, b"a") + field(2, b"\x00\xff"))
    assert protobuf.decoded(envelope("v1", "Secret", OWN + data))["data"] == {"a": "AP8="}


def test_quantities_and_numbers_or_names() -> None:
    hard = field(1, field(1, b"pods") + field(2, field(1, b"10")))
    assert protobuf.decoded(envelope("v1", "ResourceQuota", OWN + field(2, hard)))["spec"] == {
        "hard": {"pods": "10"}
    }
    named = field(
        1, field(1, b"web") + field(3, 80) + field(4, field(1, 1) + field(2, 0) + field(3, b"http"))
    )
    plain = field(1, field(3, 81) + field(4, field(1, 0) + field(2, 8080) + field(3, b"")))
    assert protobuf.decoded(envelope("v1", "Service", OWN + field(2, named + plain)))["spec"] == {
        "ports": [{"name": "web", "port": 80, "targetPort": "http"}, {"port": 81, "targetPort": 8080}]
    }


def test_zero_replicas_are_kept() -> None:
    message = OWN + field(2, field(1, 0) + field(5, 0))
    assert protobuf.decoded(envelope("apps/v1", "Deployment", message))["spec"] == {"replicas": 0}


def test_unknown_numbers_are_passed_over_only_when_they_say_nothing() -> None:
    assert protobuf.decoded(envelope("v1", "Namespace", OWN + field(99, b"")))["metadata"] == {"name": "one"}
    with pytest.raises(ApiError) as refused:
        protobuf.decoded(envelope("v1", "Namespace", OWN + field(99, b"x")))
    assert refused.value.code == 415


@pytest.mark.parametrize(
    "data", [b"k8s\x00\xff", envelope("v9", "Thing", b""), envelope("v1", "Pod", OWN), b"k8s\x00"]
)
def test_what_is_not_understood_is_unsupported(data: bytes) -> None:
    with pytest.raises(ApiError) as refused:
        protobuf.decoded(data)
    assert refused.value.code in (400, 415)


async def test_a_request_in_protobuf_is_answered_in_json(http: Http) -> None:
    body = envelope("v1", "ConfigMap", OWN + field(2, field(1, b"a") + field(2, b"b")))
    accept = "application/vnd.kubernetes.protobuf,application/json"
    answer = await http("POST", MAPS, body.decode("latin-1"), type=protobuf.MEDIA_TYPE, accept=accept)
    assert (answer.status, answer.body["data"]) == (201, {"a": "b"})
    assert answer.headers["Content-Type"].startswith("application/json")
