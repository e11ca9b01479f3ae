"""Credential plugins: a kubeconfig's user may name a command that prints a token or a certificate.

Kubernetes' page: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from dask_k8s_credentials.errors import CredentialsError

Json = dict[str, Any]

TIMEOUT = 60
"""Seconds for a plugin, which may ask the user to log in."""
EXTENSION = "client.authentication.k8s.io/exec"
"""Name of the kubeconfig's extension that a cluster has for plugins."""


def run(plugin: Json, folder: Path, cluster: Json, authority: bytes | None) -> Json:
    """Run a plugin and return what it knows, as fields of a kubeconfig's user.

    Parameters
    ----------
    plugin : dict
        ``exec`` of the kubeconfig's user.
    folder : Path
        Of the kubeconfig: a command with a path is relative to it.
    cluster : dict
        The kubeconfig's cluster, of which the plugin is told if it asks for it (``provideClusterInfo``).
    authority : bytes, optional
        The certificates (PEM) that the cluster trusts.

    Raises
    ------
    CredentialsError
        It failed. Its arguments aren't in the message, for they may be secret.
    """
    command = plugin.get("command")
    if not isinstance(command, str) or not command:
        raise CredentialsError("The kubeconfig's credential plugin (exec) has no command.")
    if os.path.dirname(command):
        command = str(folder / command)
    version = plugin.get("apiVersion") or "client.authentication.k8s.io/v1"
    is_interactive = _is_interactive(plugin, command)
    spec: Json = {"interactive": is_interactive}
    if plugin.get("provideClusterInfo"):
        spec["cluster"] = _cluster_info(cluster, authority)
    info = {"apiVersion": version, "kind": "ExecCredential", "spec": spec}
    try:
        extra = {str(entry["name"]): str(entry["value"]) for entry in plugin.get("env") or []}
        process = subprocess.run(
            [command, *map(str, plugin.get("args") or [])],
            env={**os.environ, "KUBERNETES_EXEC_INFO": json.dumps(info), **extra},
            stdin=None if is_interactive else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            check=True,
            timeout=TIMEOUT,
        )
        status = json.loads(process.stdout)["status"]
        found = {
            "token": status.get("token"),
            "client-certificate-data": _encoded(status.get("clientCertificateData")),
            "client-key-data": _encoded(status.get("clientKeyData")),
        }
    except subprocess.CalledProcessError as error:
        raise _failed(plugin, command, f"it ended with exit code {error.returncode}") from None
    except subprocess.TimeoutExpired:
        raise _failed(plugin, command, f"it took longer than {TIMEOUT} seconds") from None
    except OSError as error:
        raise _failed(plugin, command, error.strerror or type(error).__name__) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _failed(plugin, command, "it didn't print an ExecCredential with a status") from None
    known = {key: value for key, value in found.items() if value}
    if not known:
        raise _failed(plugin, command, "it printed neither a token nor a certificate")
    return known


def _failed(plugin: Json, command: str, reason: str) -> CredentialsError:
    hint = plugin.get("installHint") or "Run it by hand to see why."
    return CredentialsError(f"The kubeconfig's credential plugin {command!r} failed: {reason}. {hint}")


def _is_interactive(plugin: Json, command: str) -> bool:
    mode = plugin.get("interactiveMode") or "IfAvailable"
    has_terminal = sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()
    if mode == "Always" and not has_terminal:
        raise _failed(
            plugin, command, "it must ask on a terminal (interactiveMode: Always), and there is none"
        )
    return mode != "Never" and has_terminal


def _cluster_info(cluster: Json, authority: bytes | None) -> Json:
    keys = ("server", "tls-server-name", "insecure-skip-tls-verify", "proxy-url")
    info: Json = {key: cluster[key] for key in keys if cluster.get(key)}
    if authority:
        info["certificate-authority-data"] = base64.b64encode(authority).decode()
    for extension in cluster.get("extensions") or []:
        if extension.get("name") == EXTENSION:
            info["config"] = extension.get("extension")
    return info


def _encoded(pem: str | None) -> str | None:
    return base64.b64encode(pem.encode()).decode() if pem else None
