"""The documented examples, with the image under test where that isn't the documented one."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from tests.harness.kube import Object

EXAMPLES = Path(__file__).parents[2] / "examples"
DOCUMENTED_IMAGE = "ghcr.io/dask/dask:latest"


def with_image(text: str, image: str) -> str:
    """Return an example with another image, for nodes that can't pull the documented one."""
    return text.replace(DOCUMENTED_IMAGE, image)


def documented(name: str, image: str) -> Object:
    """Read a manifest of examples/."""
    manifest: Object = yaml.safe_load(with_image((EXAMPLES / name).read_text(), image))
    return manifest


def copied_to(folder: Path, image: str) -> Path:
    """Copy examples/ to a folder, and return its path there."""
    copy = folder / "examples"
    shutil.copytree(EXAMPLES, copy)
    for path in copy.glob("*.*"):
        path.write_text(with_image(path.read_text(), image))
    return copy
