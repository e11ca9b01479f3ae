"""Where the API server is and who we are: from a kubeconfig, or from the pod's service account.

The rules are kubectl's (https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/).
No key or token stays behind in a temporary file.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import os
import ssl
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from dask_k8s_client.errors import CredentialsError

Json = dict[str, Any]

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
EXEC_TIMEOUT = 60
"""Seconds for a credential plugin, which may ask the user to log in."""


@dataclass(frozen=True)
class Credentials:
    """All that is needed to speak to an API server."""

    server: str
    namespace: str = "default"
    in_cluster: bool = False
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    ssl_context: ssl.SSLContext | None = field(default=None, repr=False)
    server_hostname: str | None = None
    proxy: str | None = None

    @property
    def is_local(self) -> bool:
        """Whether the API server is on this machine: then proxies of the environment don't concern it."""
        host = urlsplit(self.server).hostname or ""
        with suppress(ValueError):
            return ipaddress.ip_address(host).is_loopback
        return host == "localhost"


def load(kubeconfig: str | os.PathLike[str] | None = None, context: str | None = None) -> Credentials:
    """Find credentials as kubectl does: the kubeconfig if there is one, else the pod's service account.

    This reads files and may run a credential plugin, so it blocks.

    Parameters
    ----------
    kubeconfig : path, optional
        Instead of the environment variable ``KUBECONFIG`` or ``~/.kube/config``.
    context : str, optional
        Instead of the kubeconfig's current context.

    Raises
    ------
    CredentialsError
        There are none, or they can't be read; the message says which file or entry.
    """
    paths = _kubeconfig_paths(kubeconfig)
    merged = _merged([path for path in paths if path.is_file()])
    if merged["contexts"] or merged["clusters"]:
        return _from_kubeconfig(merged, context)
    if os.environ.get("KUBERNETES_SERVICE_HOST") and (SERVICE_ACCOUNT / "token").exists():
        return _from_service_account()
    looked_at = ", ".join(str(path) for path in paths)
    raise CredentialsError(
        f"No Kubernetes credentials: there is no kubeconfig at {looked_at}, and we don't run in a pod. "
        "Set KUBECONFIG to your cluster's file (`kubectl config view` shows what kubectl uses), "
        "or start a local Kubernetes with `dask kubernetes local up --kubeconfig FILE`."
    )


def _kubeconfig_paths(given: str | os.PathLike[str] | None) -> list[Path]:
    text = os.fspath(given) if given else os.environ.get("KUBECONFIG") or "~/.kube/config"
    return [Path(part).expanduser() for part in text.split(os.pathsep) if part]


def _merged(paths: list[Path]) -> Json:
    """Merge kubeconfigs by kubectl's rule: the first file that sets a value or a name wins."""
    merged: Json = {"clusters": {}, "users": {}, "contexts": {}, "current-context": ""}
    for path in paths:
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise CredentialsError(f"The kubeconfig {path} can't be read: {error}") from error
        try:
            merged["current-context"] = merged["current-context"] or content.get("current-context") or ""
            for plural in ("clusters", "users", "contexts"):
                for entry in content.get(plural) or []:
                    value = {**(entry.get(plural[:-1]) or {}), "_folder": path.parent}
                    merged[plural].setdefault(entry["name"], value)
        except (AttributeError, KeyError, TypeError) as error:
            raise CredentialsError(
                f"{path} isn't a kubeconfig: its clusters, users and contexts must be lists of named entries."
            ) from error
    return merged


def _from_kubeconfig(config: Json, context_name: str | None) -> Credentials:
    name = context_name or config["current-context"] or next(iter(config["contexts"]), "")
    context = _entry(config, "contexts", name)
    cluster = _entry(config, "clusters", context.get("cluster", ""))
    user = config["users"].get(context.get("user", ""), {"_folder": Path()})
    if not cluster.get("server"):
        raise CredentialsError(f"The kubeconfig's cluster {context.get('cluster')!r} has no server.")
    user = {**user, **_from_plugin(user)}
    return Credentials(
        server=cluster["server"].rstrip("/"),
        namespace=context.get("namespace") or "default",
        headers=_authorization(user),
        ssl_context=_ssl_context(cluster, user),
        server_hostname=cluster.get("tls-server-name"),
        proxy=cluster.get("proxy-url"),
    )


def _entry(config: Json, plural: str, name: str) -> Json:
    try:
        entry: Json = config[plural][name]
    except KeyError:
        known = ", ".join(sorted(config[plural])) or "none"
        raise CredentialsError(f"The kubeconfig has no {plural[:-1]} {name!r}; it has: {known}.") from None
    return entry


def _authorization(user: Json) -> dict[str, str]:
    if user.get("tokenFile"):
        return {"Authorization": f"Bearer {_path(user, 'tokenFile').read_text().strip()}"}
    token = user.get("token") or ((user.get("auth-provider") or {}).get("config") or {}).get("id-token")
    if token:
        return {"Authorization": f"Bearer {token}"}
    if user.get("username"):
        pair = f"{user['username']}:{user.get('password', '')}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
    return {}


def _from_plugin(user: Json) -> Json:
    """Run the user's credential plugin (https://kubernetes.io/docs/reference/access-authn-authz/authentication/)."""
    plugin = user.get("exec")
    if not plugin:
        return {}
    version = plugin.get("apiVersion", "client.authentication.k8s.io/v1")
    info = {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": False}}
    extra = {entry["name"]: entry["value"] for entry in plugin.get("env") or []}
    command = [plugin["command"], *(plugin.get("args") or [])]
    try:
        process = subprocess.run(
            command,
            env={**os.environ, "KUBERNETES_EXEC_INFO": json.dumps(info), **extra},
            stdout=subprocess.PIPE,
            check=True,
            timeout=EXEC_TIMEOUT,
        )
        status = json.loads(process.stdout)["status"]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
        hint = plugin.get("installHint") or "Run it by hand to see why."
        raise CredentialsError(
            f"The kubeconfig's credential plugin {plugin['command']!r} failed: {error}. {hint}"
        ) from error
    found = {
        "token": status.get("token"),
        "client-certificate-data": _encoded(status.get("clientCertificateData")),
        "client-key-data": _encoded(status.get("clientKeyData")),
    }
    return {key: value for key, value in found.items() if value}


def _encoded(pem: str | None) -> str | None:
    return base64.b64encode(pem.encode()).decode() if pem else None


def _ssl_context(cluster: Json, user: Json) -> ssl.SSLContext | None:
    if not cluster["server"].startswith("https"):
        return None
    authority = _bytes(cluster, "certificate-authority")
    try:
        context = ssl.create_default_context(cadata=authority.decode() if authority else None)
    except (ssl.SSLError, UnicodeDecodeError) as error:
        raise CredentialsError(f"The kubeconfig's certificate-authority isn't valid: {error}") from error
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    certificate, key = _bytes(user, "client-certificate"), _bytes(user, "client-key")
    if certificate and key:
        _load_client_certificate(context, certificate, key)
    return context


def _load_client_certificate(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    # OpenSSL reads keys from files only, so the file lives for this one call.
    descriptor, name = tempfile.mkstemp(prefix="dask-k8s-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(certificate + b"\n" + key)
        context.load_cert_chain(name)
    except ssl.SSLError as error:
        raise CredentialsError(f"The kubeconfig's client certificate or key isn't valid: {error}") from error
    finally:
        os.unlink(name)


def _bytes(entry: Json, key: str) -> bytes | None:
    if entry.get(f"{key}-data"):
        try:
            return base64.b64decode(entry[f"{key}-data"])
        except ValueError as error:
            raise CredentialsError(f"The kubeconfig's {key}-data isn't valid base64: {error}") from error
    return _path(entry, key).read_bytes() if entry.get(key) else None


def _path(entry: Json, key: str) -> Path:
    """Resolve a path of the kubeconfig, relative to the file that it stands in."""
    path: Path = entry["_folder"] / entry[key]
    if not path.is_file():
        raise CredentialsError(f"The kubeconfig's {key} names {path}, which isn't a file.")
    return path


def _from_service_account() -> Credentials:
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    host = f"[{host}]" if ":" in host else host
    namespace = "default"
    with suppress(OSError):
        namespace = (SERVICE_ACCOUNT / "namespace").read_text().strip() or namespace
    authority = SERVICE_ACCOUNT / "ca.crt"
    return Credentials(
        server=f"https://{host}:{port}",
        namespace=namespace,
        in_cluster=True,
        headers={"Authorization": f"Bearer {(SERVICE_ACCOUNT / 'token').read_text().strip()}"},
        ssl_context=ssl.create_default_context(cadata=authority.read_text() if authority.exists() else None),
    )
