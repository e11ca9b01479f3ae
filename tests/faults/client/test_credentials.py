"""Credentials that a program gives, and certificates of another name."""

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

import pytest
import trustme

import dask_k8s_credentials as credentials
from dask_k8s_credentials import CredentialsError, tls
from tests.harness.kubeconfigs import kubeconfig

SECRET = "TOPSECRET"


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
