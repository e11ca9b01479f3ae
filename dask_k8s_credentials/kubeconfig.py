"""Read kubeconfigs as kubectl does.

The rules: https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from dask_k8s_credentials import plugin, tls
from dask_k8s_credentials.errors import CredentialsError
from dask_k8s_credentials.model import Credentials

Json = dict[str, Any]

PROXIES = ("http", "https", "socks5", "socks5h")


def merged(paths: list[Path]) -> Json:
    """Merge files by kubectl's rule: the first file that sets a value or a name wins.

    Returns
    -------
    dict
        ``clusters``, ``users`` and ``contexts`` by name, each with the folder of its file as ``_folder``, and
        ``current-context``.

    Raises
    ------
    CredentialsError
        A file isn't a kubeconfig.
    """
    found: Json = {"clusters": {}, "users": {}, "contexts": {}, "current-context": ""}
    for path in paths:
        content = _parsed(path)
        try:
            found["current-context"] = found["current-context"] or content.get("current-context") or ""
            for plural in ("clusters", "users", "contexts"):
                for entry in content.get(plural) or []:
                    value = {**(entry.get(plural[:-1]) or {}), "_folder": path.absolute().parent}
                    found[plural].setdefault(entry["name"], value)
        except (AttributeError, KeyError, TypeError):
            raise CredentialsError(
                f"{path} isn't a kubeconfig: its clusters, users and contexts must be lists of named entries."
            ) from None
    return found


def _parsed(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise CredentialsError(f"The kubeconfig {path} can't be read: {error.strerror}.") from error
    except (ValueError, yaml.YAMLError) as error:
        # PyYAML's own message quotes the line, which may be the one with the token.
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f"; look at line {mark.line + 1}, column {mark.column + 1}"
        raise CredentialsError(f"The kubeconfig {path} can't be read: it isn't valid YAML{where}.") from None


def credentials(config: Json, context_name: str | None) -> Credentials:
    """Take one context's credentials from merged kubeconfigs.

    Raises
    ------
    CredentialsError
        Something that they name is missing or invalid.
    """
    name = context_name or config["current-context"] or next(iter(config["contexts"]), "")
    context = _entry(config, "contexts", name)
    cluster = _entry(config, "clusters", context.get("cluster", ""))
    user = config["users"].get(context.get("user", ""), {"_folder": Path()})
    if not isinstance(cluster.get("server"), str) or not cluster["server"]:
        raise CredentialsError(f"The kubeconfig's cluster {context.get('cluster')!r} has no server.")
    authority = _bytes(cluster, "certificate-authority")
    if user.get("exec"):
        user = {**user, **plugin.run(user["exec"], user["_folder"], cluster, authority)}
    return Credentials(
        server=cluster["server"].rstrip("/"),
        namespace=context.get("namespace") or "default",
        headers=(*_authorization(user), *_impersonation(user)),
        ssl_context=tls.context(
            authority,
            certificate=_bytes(user, "client-certificate"),
            key=_bytes(user, "client-key"),
            server_name=cluster.get("tls-server-name"),
            is_insecure=bool(cluster.get("insecure-skip-tls-verify")),
        )
        if cluster["server"].startswith("https")
        else None,
        proxy=_proxy(cluster),
    )


def _entry(config: Json, plural: str, name: str) -> Json:
    try:
        entry: Json = config[plural][name]
    except KeyError:
        known = ", ".join(sorted(config[plural])) or "none"
        raise CredentialsError(f"The kubeconfig has no {plural[:-1]} {name!r}; it has: {known}.") from None
    return entry


def _proxy(cluster: Json) -> str | None:
    proxy: str | None = cluster.get("proxy-url") or None
    if proxy and urlsplit(proxy).scheme not in PROXIES:
        raise CredentialsError(
            f"The kubeconfig's proxy-url begins with {urlsplit(proxy).scheme or 'no scheme'!r}; "
            f"it must be one of {', '.join(PROXIES)}."
        )
    return proxy


def _authorization(user: Json) -> Iterator[tuple[str, str]]:
    if user.get("tokenFile"):
        yield "Authorization", f"Bearer {_path(user, 'tokenFile').read_text().strip()}"
        return
    token = user.get("token") or ((user.get("auth-provider") or {}).get("config") or {}).get("id-token")
    if token:
        yield "Authorization", f"Bearer {token}"
    elif user.get("username"):
        pair = f"{user['username']}:{user.get('password', '')}".encode()
        yield "Authorization", f"Basic {base64.b64encode(pair).decode()}"


def _impersonation(user: Json) -> Iterator[tuple[str, str]]:
    """Act as somebody else (https://kubernetes.io/docs/reference/access-authn-authz/user-impersonation/)."""
    groups, extra = user.get("as-groups") or [], user.get("as-user-extra") or {}
    if not user.get("as"):
        if groups or extra or user.get("as-uid"):
            raise CredentialsError(
                "The kubeconfig's user has as-groups, as-uid or as-user-extra, but no `as`."
            )
        return
    yield "Impersonate-User", str(user["as"])
    if user.get("as-uid"):
        yield "Impersonate-Uid", str(user["as-uid"])
    for group in groups:
        yield "Impersonate-Group", str(group)
    for key, values in extra.items():
        for value in values:
            yield f"Impersonate-Extra-{key}", str(value)


def _bytes(entry: Json, key: str) -> bytes | None:
    if entry.get(f"{key}-data"):
        try:
            return base64.b64decode(entry[f"{key}-data"])
        except (TypeError, ValueError):
            raise CredentialsError(f"The kubeconfig's {key}-data isn't valid base64.") from None
    return _path(entry, key).read_bytes() if entry.get(key) else None


def _path(entry: Json, key: str) -> Path:
    """Resolve a path of the kubeconfig, relative to the file that it stands in."""
    path: Path = entry["_folder"] / entry[key]
    if not path.is_file():
        raise CredentialsError(f"The kubeconfig's {key} names {path}, which isn't a file.")
    return path
