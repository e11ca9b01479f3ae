"""The controller logs in as kubectl and the client do."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

from dask_k8s_controller.kubernetes.connection import connect, log_in
from dask_k8s_credentials import Credentials, CredentialsError


async def test_a_credential_plugin_of_the_kubeconfig_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = json.dumps({"status": {"token": "from-the-plugin"}})
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": ["-c", f"print({answer!r})"],
    }
    kubeconfig = {
        "clusters": [{"name": "c", "cluster": {"server": "https://example.invalid"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "team"}}],
        "current-context": "c",
        "users": [{"name": "u", "user": {"exec": plugin}}],
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    connection = await log_in()
    assert connection.session.headers["Authorization"] == "Bearer from-the-plugin"
    assert (connection.server, connection.namespace) == ("https://example.invalid", "team")
    assert not connection.in_cluster
    await connection.session.close()


async def test_groups_to_impersonate_are_all_sent() -> None:
    headers = (("Impersonate-User", "a"), ("Impersonate-Group", "one"), ("Impersonate-Group", "two"))
    connection = connect(Credentials("https://example.invalid", headers=headers))
    assert connection.session.headers.getall("Impersonate-Group") == ["one", "two"]
    await connection.session.close()


async def test_a_proxy_that_it_cannot_use_is_named() -> None:
    with pytest.raises(CredentialsError, match="socks5://proxy:1080: use an HTTP proxy"):
        connect(Credentials("https://example.invalid", proxy="socks5://proxy:1080"))
