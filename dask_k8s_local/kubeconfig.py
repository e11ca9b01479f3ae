"""The kubeconfig file that leads to a local Kubernetes."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import yaml

CONTEXT = "dask-k8s-local"


class KubeconfigInUse(Exception):
    """The file to be written is somebody else's."""


def kubeconfig(url: str, authority: Path, token: str) -> dict[str, object]:
    """Return a kubeconfig; whoever holds it can run processes as this user."""
    # The authority is a file because some clients would copy inlined data to files that they leave behind.
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": CONTEXT,
        "contexts": [
            {"name": CONTEXT, "context": {"cluster": CONTEXT, "user": CONTEXT, "namespace": "default"}}
        ],
        "clusters": [{"name": CONTEXT, "cluster": {"server": url, "certificate-authority": str(authority)}}],
        "users": [{"name": CONTEXT, "user": {"token": token}}],
    }


def write_private(path: Path, content: str) -> None:
    """Write a file that only its owner can read, at once or not at all."""
    # The folder may be everybody's: nobody else's file or link is ever written through.
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with open(descriptor, "w") as file:
            file.write(content)
        draft.replace(path)
    except BaseException:
        draft.unlink()
        raise


def refuse_foreign(path: Path) -> None:
    """Raise `KubeconfigInUse` if a file exists that no local Kubernetes wrote."""
    if not path.exists():
        return
    content = yaml.safe_load(path.read_text())
    contexts = content.get("contexts") if isinstance(content, dict) else None
    if not contexts or [context["name"] for context in contexts] != [CONTEXT]:
        raise KubeconfigInUse(
            f"{path} exists and was not written by a local Kubernetes; name another file for its kubeconfig"
        )
