"""Credentials from kubeconfigs and service accounts."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

import dask_k8s_credentials as credentials
from dask_k8s_credentials import CredentialsError, loading, tls

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
    assert found.headers == (("Authorization", "Bearer fresh"),)


def test_a_failing_plugin_is_named_with_its_hint(tmp_path: Path) -> None:
    plugin = {"command": "no-such-program", "installHint": "Install it from example.com."}
    with pytest.raises(CredentialsError, match=r"'no-such-program' failed.*Install it from example\.com\."):
        credentials.load(kubeconfig(tmp_path / "config", user={"exec": plugin}))


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


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("raise SystemExit(3)", "exit code 3"),
        ("print('no json')", "didn't print an ExecCredential"),
        ("print('[]')", "didn't print an ExecCredential"),
        ("print('{\"status\": null}')", "didn't print an ExecCredential"),
        ("print('{\"status\": {}}')", "neither a token nor a certificate"),
    ],
)
def test_a_plugins_arguments_are_in_no_message(tmp_path: Path, program: str, reason: str) -> None:
    plugin = {"command": sys.executable, "args": ["-c", program, f"--client-secret={SECRET}"]}
    with pytest.raises(CredentialsError, match=reason) as caught:
        credentials.load(kubeconfig(tmp_path / "config", user={"exec": plugin}))
    assert SECRET not in repr(caught.value)


def test_a_plugin_that_takes_too_long_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dask_k8s_credentials.plugin.TIMEOUT", 0.1)
    plugin = {"command": sys.executable, "args": ["-c", "import time; time.sleep(60)", SECRET]}
    with pytest.raises(CredentialsError, match=r"longer than 0\.1 seconds") as caught:
        credentials.load(kubeconfig(tmp_path / "config", user={"exec": plugin}))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("folder", "command"), [("", "./bin/plugin"), ("", "bin/plugin"), ("certs", "../bin/plugin")]
)
def test_a_plugins_path_is_relative_to_its_kubeconfig(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, command: str
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "certs").mkdir()
    (tmp_path / "elsewhere").mkdir()
    program = tmp_path / "bin" / "plugin"
    program.write_text('#!/bin/sh\necho \'{"status": {"token": "fresh"}}\'\n')
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path / "elsewhere")
    path = kubeconfig(
        tmp_path / folder / "config", user={"exec": {"command": command, "env": None, "args": None}}
    )
    assert credentials.load(path).headers == (("Authorization", "Bearer fresh"),)


def test_a_plugin_is_told_of_its_cluster_if_it_asks(tmp_path: Path) -> None:
    program = (
        "import json, os; info = json.loads(os.environ['KUBERNETES_EXEC_INFO'])['spec']; "
        "print(json.dumps({'status': {'token': json.dumps(info['cluster'], sort_keys=True)}}))"
    )
    authority = trustme.CA().cert_pem.bytes()
    extension = {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "x"}}
    cluster = {
        "server": "https://127.0.0.1:1",
        "tls-server-name": "kubernetes",
        "certificate-authority-data": base64.b64encode(authority).decode(),
        "extensions": [extension],
    }
    plugin = {"command": sys.executable, "args": ["-c", program], "provideClusterInfo": True}
    found = credentials.load(kubeconfig(tmp_path / "config", cluster=cluster, user={"exec": plugin}))
    told = json.loads(dict(found.headers)["Authorization"].removeprefix("Bearer "))
    assert told == {
        "server": "https://127.0.0.1:1",
        "tls-server-name": "kubernetes",
        "certificate-authority-data": base64.b64encode(authority).decode(),
        "config": {"audience": "x"},
    }


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


@pytest.fixture
def named_server() -> Iterator[tuple[trustme.CA, int]]:
    """Run a TLS server on the loopback address whose certificate has another name."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("kubernetes.example").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with (
                    connection,
                    suppress(OSError),
                    context.wrap_socket(connection, server_side=True) as wrapped,
                ):
                    wrapped.sendall(b"hello")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield authority, listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


async def test_the_tls_server_name_is_what_a_certificate_must_have(
    named_server: tuple[trustme.CA, int],
) -> None:
    authority, port = named_server
    trusted = authority.cert_pem.bytes()
    named = tls.context(trusted, server_name="kubernetes.example")
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=named)
    assert await reader.read() == b"hello"
    writer.close()
    with pytest.raises(ssl.SSLCertVerificationError):
        await asyncio.open_connection("127.0.0.1", port, ssl=tls.context(trusted))

    def plainly() -> bytes:
        with (
            socket.create_connection(("127.0.0.1", port)) as plain,
            named.wrap_socket(plain, server_hostname="127.0.0.1") as wrapped,
        ):
            return wrapped.recv(5)

    assert await asyncio.to_thread(plainly) == b"hello"


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
