"""The documented manifests, with what a test's Kubernetes has: an image, and commands of today's Dask."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.harness.kube import Object

EXAMPLES = Path(__file__).parents[2] / "examples"

COMMANDS = {"dask-scheduler": ["dask", "scheduler"], "dask-worker": ["dask", "worker"]}
"""What is documented, and what there is since 2022.10."""


def documented(name: str, image: str) -> Object:
    """Read a manifest of examples/, for any namespace; its scheduler is ready as soon as it answers."""
    text = (EXAMPLES / name).read_text().replace("ghcr.io/dask/dask:latest", image)
    manifest: Object = yaml.safe_load(text)
    manifest["metadata"].pop("namespace", None)
    for container in containers(manifest["spec"]):
        command = container["args"][0]
        container["args"][:1] = COMMANDS.get(command, [command])
        if "readinessProbe" in container:
            container["readinessProbe"] |= {"initialDelaySeconds": 0, "periodSeconds": 1}
    return manifest


def containers(part: Any) -> Iterator[Object]:
    """Yield all containers in a spec, however deep."""
    if isinstance(part, dict):
        yield from part.get("containers", ())
        for inner in part.values():
            yield from containers(inner)
