"""The certificate of a cluster: read from its Secret, kept in memory, and renewed under who uses it."""

from __future__ import annotations

import base64
import pickle
from typing import Any

import pytest

from dask_k8s_client import encryption
from dask_k8s_client.encryption import ClusterSecurity, NoCertificate
from dask_k8s_client.errors import ForbiddenError, NotFoundError
from dask_k8s_models import labels

trustme = pytest.importorskip("trustme")


def pem() -> dict[str, str]:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    return {
        "ca.crt": authority.cert_pem.bytes().decode(),
        "tls.crt": issued.cert_chain_pems[0].bytes().decode(),
        "tls.key": issued.private_key_pem.bytes().decode(),
    }


def secret(**data: str) -> dict[str, Any]:
    return {"data": {name: base64.b64encode(text.encode()).decode() for name, text in data.items()}}


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the API server says, an object or an error."""
    said: dict[str, Any] = {}

    async def get(api: object, path: str) -> Any:
        assert path == "/api/v1/namespaces/ns/secrets/foo-tls"
        if isinstance(said["answer"], Exception):
            raise said["answer"]
        return said["answer"]

    monkeypatch.setattr("dask_k8s_client.raw.get", get)
    return said


async def read() -> ClusterSecurity:
    return await encryption.read(None, "ns", "foo-tls")  # type: ignore[arg-type]


async def test_it_is_read_from_the_secret(answer: dict[str, Any]) -> None:
    parts = pem()
    answer["answer"] = secret(**parts)
    security: Any = await read()
    assert security.require_encryption is True
    assert (security.tls_ca_file, security.tls_client_cert, security.tls_client_key) == tuple(
        parts[name] for name in encryption.PARTS
    )
    assert "PRIVATE" not in repr(security)
    assert pickle.loads(pickle.dumps(security)).tls_client_key == parts["tls.key"]


async def test_a_missing_right_is_named(answer: dict[str, Any]) -> None:
    answer["answer"] = ForbiddenError("no", 403, "Forbidden")
    with pytest.raises(ForbiddenError, match=r"resourceNames: \[foo-tls\]"):
        await read()


async def test_a_missing_secret_is_named(answer: dict[str, Any]) -> None:
    answer["answer"] = NotFoundError("no", 404, "NotFound")
    with pytest.raises(NoCertificate, match="foo-tls doesn't exist in the namespace ns"):
        await read()


async def test_a_secret_of_another_form_is_told(answer: dict[str, Any]) -> None:
    answer["answer"] = secret(**{"tls.crt": "x"})
    with pytest.raises(NoCertificate, match=r"has no ca\.crt, tls\.key"):
        await read()


def test_clients_go_on_with_the_next_certificate() -> None:
    first, second = pem(), pem()
    security: Any = ClusterSecurity("foo-tls", *(first[name] for name in encryption.PARTS))
    arguments = security.get_connection_args("client")
    assert security.get_connection_args("client") is arguments
    context = arguments["ssl_context"]
    assert len(context.get_ca_certs()) == 1
    security.renew(ClusterSecurity("foo-tls-2", *(second[name] for name in encryption.PARTS)))
    assert security.secret == "foo-tls-2"
    assert security.tls_client_key == second["tls.key"]
    assert security.get_connection_args("client")["ssl_context"] is context
    assert len(context.get_ca_certs()) == 2


@pytest.mark.parametrize(
    ("pod", "name", "https"),
    [
        (None, "", False),
        ({"metadata": {}}, "", False),
        ({"metadata": {"annotations": {labels.TLS_SECRET: "foo-tls"}}}, "foo-tls", False),
        ({"metadata": {"annotations": {labels.TLS_SECRET: "a", labels.HTTPS: "b"}}}, "a", True),
    ],
)
def test_the_schedulers_pod_tells_what_it_speaks(pod: Any, name: str, https: bool) -> None:
    assert encryption.secret_of(pod) == name
    assert encryption.serves_https(pod) is https
