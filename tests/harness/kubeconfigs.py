"""Kubeconfigs of one context."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

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


def in_namespace(known: Path, namespace: str, path: Path) -> str:
    """Return a KUBECONFIG whose current context is that of a file, in a namespace."""
    content = yaml.safe_load(known.read_text())
    current = next(c for c in content["contexts"] if c["name"] == content["current-context"])
    mine = {"name": "here", "context": {**current["context"], "namespace": namespace}}
    path.write_text(yaml.safe_dump({"current-context": "here", "contexts": [mine]}))
    return f"{path}{os.pathsep}{known}"
