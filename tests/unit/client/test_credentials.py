"""Credentials from kubeconfigs and service accounts."""

from __future__ import annotations

import base64
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from dask_k8s_client import credentials
from dask_k8s_client.errors import CredentialsError

Json = dict[str, Any]


def kubeconfig(path: Path, *, cluster: Json | None = None, user: Json | None = None, **context: str) -> Path:
    content = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", **context}}],
        "clusters": [{"name": "c", "cluster": cluster or {"server": "http://127.0.0.1:1/"}}],
        "users": [{"name": "u", "user": user or {}}],
    }
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def test_token_namespace_and_server(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "config", user={"token": "secret"}, namespace="blue")
    found = credentials.load(path)
    assert found.server == "http://127.0.0.1:1"
    assert found.namespace == "blue"
    assert found.headers == {"Authorization": "Bearer secret"}
    assert not found.in_cluster
    assert "secret" not in repr(found)


def test_namespace_is_default_unless_the_context_has_one(tmp_path: Path) -> None:
    assert credentials.load(kubeconfig(tmp_path / "config")).namespace == "default"


def test_a_token_file_is_relative_to_its_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    found = credentials.load(kubeconfig(tmp_path / "config", user={"tokenFile": "token"}))
    assert found.headers == {"Authorization": "Bearer secret"}


def test_the_first_file_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = kubeconfig(tmp_path / "one", user={"token": "one"})
    second = kubeconfig(tmp_path / "two", user={"token": "two"})
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'none'}:{first}:{second}")
    assert credentials.load().headers == {"Authorization": "Bearer one"}


def test_an_unknown_context_is_named(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match=r"no context 'there'; it has: here"):
        credentials.load(kubeconfig(tmp_path / "config"), context="there")


def test_without_any_the_error_says_where_we_looked(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match=r"\.kube/config"):
        credentials.load()


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("a: [")
    with pytest.raises(CredentialsError, match="config"):
        credentials.load(tmp_path / "config")


@pytest.mark.parametrize(
    "text", ["root:x:0:0", "- a\n- b", "clusters: [{}]", "contexts: 1", "users: [u]", "\x00"]
)
def test_what_is_no_kubeconfig_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").write_text(text)
    with pytest.raises(CredentialsError, match="config"):
        credentials.load(tmp_path / "config")


@pytest.mark.parametrize("data", ["a", "bm90IGEgY2VydGlmaWNhdGU=", "/w=="])
def test_a_broken_authority_is_named(tmp_path: Path, data: str) -> None:
    cluster = {"server": "https://127.0.0.1:1/", "certificate-authority-data": data}
    with pytest.raises(CredentialsError, match="certificate-authority"):
        credentials.load(kubeconfig(tmp_path / "config", cluster=cluster))


def test_client_certificates_leave_no_file_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    authority = trustme.CA()
    mine = authority.issue_cert("me@example.com")

    def encoded(blob: Any) -> str:
        return base64.b64encode(blob.bytes()).decode()

    found = credentials.load(
        kubeconfig(
            tmp_path / "config",
            cluster={
                "server": "https://127.0.0.1:1",
                "certificate-authority-data": encoded(authority.cert_pem),
            },
            user={
                "client-certificate-data": encoded(mine.cert_chain_pems[0]),
                "client-key-data": encoded(mine.private_key_pem),
            },
        )
    )
    assert found.ssl_context is not None
    assert found.ssl_context.verify_mode is ssl.CERT_REQUIRED
    assert len(found.ssl_context.get_ca_certs()) == 1
    assert list(temporary.iterdir()) == []


def test_a_missing_certificate_file_is_named(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "config", cluster={"server": "https://a", "certificate-authority": "ca.crt"})
    with pytest.raises(CredentialsError, match=r"ca\.crt"):
        credentials.load(path)


def test_a_credential_plugin_is_asked(tmp_path: Path) -> None:
    program = (
        "import json, os; assert os.environ['MODE'] == 'x'; print(json.dumps({'status': {'token': 'fresh'}}))"
    )
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": ["-c", program],
        "env": [{"name": "MODE", "value": "x"}],
    }
    found = credentials.load(kubeconfig(tmp_path / "config", user={"exec": plugin}))
    assert found.headers == {"Authorization": "Bearer fresh"}


def test_a_failing_plugin_is_named_with_its_hint(tmp_path: Path) -> None:
    plugin = {"command": "no-such-program", "installHint": "Install it from example.com."}
    with pytest.raises(CredentialsError, match=r"'no-such-program' failed.*Install it from example\.com\."):
        credentials.load(kubeconfig(tmp_path / "config", user={"exec": plugin}))


def test_in_a_pod_the_service_account_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    account = tmp_path / "account"
    account.mkdir()
    (account / "token").write_text("pods-own")
    (account / "namespace").write_text("green")
    trustme.CA().cert_pem.write_to_path(str(account / "ca.crt"))
    monkeypatch.setattr(credentials, "SERVICE_ACCOUNT", account)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    found = credentials.load()
    assert found.in_cluster
    assert (found.server, found.namespace) == ("https://[fd00::1]:443", "green")


@pytest.mark.parametrize(
    ("server", "is_local"),
    [
        ("https://127.0.0.1:6443", True),
        ("https://[::1]:6443", True),
        ("http://localhost", True),
        ("https://10.0.0.1", False),
        ("https://kubernetes.example.com", False),
    ],
)
def test_proxies_of_the_environment_do_not_concern_this_machine(server: str, is_local: bool) -> None:
    assert credentials.Credentials(server).is_local is is_local
