"""Credentials from kubeconfigs and service accounts."""

from __future__ import annotations

import base64
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme

import dask_k8s_credentials as credentials
from dask_k8s_credentials import CredentialsError, loading
from tests.harness.kubeconfigs import kubeconfig

Json = dict[str, Any]


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
    assert found.headers == (("Authorization", "Bearer secret"),)
    assert not found.in_cluster
    assert "secret" not in repr(found)


def test_namespace_is_default_unless_the_context_has_one(tmp_path: Path) -> None:
    assert credentials.load(kubeconfig(tmp_path / "config")).namespace == "default"


def test_a_token_file_is_relative_to_its_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    found = credentials.load(kubeconfig(tmp_path / "config", user={"tokenFile": "token"}))
    assert found.headers == (("Authorization", "Bearer secret"),)


def test_the_first_file_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = kubeconfig(tmp_path / "one", user={"token": "one"})
    second = kubeconfig(tmp_path / "two", user={"token": "two"})
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'none'}:{first}:{second}")
    assert credentials.load().headers == (("Authorization", "Bearer one"),)


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


SECRET = "TOPSECRET"


@pytest.mark.parametrize(
    "text",
    [
        f"users:\n- name: u\n  user:\n    token: eyJhbGciOi.{SECRET}: x\n",
        f"users: [{{name: u, user: {{token: *{SECRET}}}}}]\n",
        f"users: [{{name: u, user: {{token: !{SECRET} x}}}}]\n",
        f'users: [{{name: u, user: {{token: "{SECRET}\n',
        f"users: [{{name: u, user: {{client-key-data: {SECRET}x}}}}]\n",
        f"users: {SECRET}\n",
    ],
)
def test_no_message_repeats_what_stands_in_a_broken_kubeconfig(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text + "clusters: [{name: c, cluster: {server: 'https://x'}}]\n")
    with pytest.raises(CredentialsError, match=r"config") as caught:
        credentials.load(path)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None or SECRET not in str(caught.value.__cause__)


def test_broken_yaml_is_found_by_line_and_column(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("a: b\ntoken: x: y\n")
    with pytest.raises(CredentialsError, match=r"isn't valid YAML; look at line 2, column 9"):
        credentials.load(tmp_path / "config")


def test_a_plugin_that_must_ask_needs_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    plugin = {"command": sys.executable, "args": ["-c", ""], "interactiveMode": "Always"}
    with pytest.raises(CredentialsError, match="terminal"):
        credentials.load(kubeconfig(tmp_path / "config", user={"exec": plugin}))


def test_somebody_else_is_acted_as(tmp_path: Path) -> None:
    user = {
        "token": "mine",
        "as": "jane",
        "as-uid": "7",
        "as-groups": ["dev", "ops"],
        "as-user-extra": {"reason": ["x", "y"]},
    }
    assert credentials.load(kubeconfig(tmp_path / "config", user=user)).headers == (
        ("Authorization", "Bearer mine"),
        ("Impersonate-User", "jane"),
        ("Impersonate-Uid", "7"),
        ("Impersonate-Group", "dev"),
        ("Impersonate-Group", "ops"),
        ("Impersonate-Extra-reason", "x"),
        ("Impersonate-Extra-reason", "y"),
    )


def test_a_group_without_a_user_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match="as-groups"):
        credentials.load(kubeconfig(tmp_path / "config", user={"as-groups": ["dev"]}))


@pytest.mark.parametrize("proxy", ["http://a:1", "https://a:1", "socks5://a:1", "socks5h://a:1"])
def test_proxies_that_are_known(tmp_path: Path, proxy: str) -> None:
    cluster = {"server": "https://x", "proxy-url": proxy}
    assert credentials.load(kubeconfig(tmp_path / "config", cluster=cluster)).proxy == proxy


@pytest.mark.parametrize("proxy", ["socks4://user:TOPSECRET@a:1", "a:1", "a"])
def test_other_proxies_are_refused(tmp_path: Path, proxy: str) -> None:
    cluster = {"server": "https://x", "proxy-url": proxy}
    with pytest.raises(CredentialsError, match=r"proxy-url.*socks5h") as caught:
        credentials.load(kubeconfig(tmp_path / "config", cluster=cluster))
    assert SECRET not in str(caught.value)


def test_a_kubeconfig_that_is_named_must_exist_even_in_a_pod(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "SERVICE_ACCOUNT", tmp_path)
    (tmp_path / "token").write_text("pods-own")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert credentials.load().in_cluster
    with pytest.raises(CredentialsError, match=r"there is no kubeconfig at \S+missing\.\s"):
        credentials.load(tmp_path / "missing")


def test_in_a_pod_the_service_account_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    account = tmp_path / "account"
    account.mkdir()
    (account / "token").write_text("pods-own")
    (account / "namespace").write_text("green")
    trustme.CA().cert_pem.write_to_path(str(account / "ca.crt"))
    monkeypatch.setattr(loading, "SERVICE_ACCOUNT", account)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    found = credentials.load()
    assert found.in_cluster
    assert (found.server, found.namespace) == ("https://[fd00::1]:443", "green")


@pytest.mark.parametrize("token", [None, b"\xff"])
def test_a_token_that_can_not_be_read_is_no_other_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: bytes | None
) -> None:
    monkeypatch.setattr(loading, "SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    if token is None:
        (tmp_path / "token").mkdir()
    else:
        (tmp_path / "token").write_bytes(token)
    with pytest.raises(CredentialsError, match="can't be read"):
        credentials.load()


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
