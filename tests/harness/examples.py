"""Documented examples with the image under test: ``python -m tests.harness.examples IMAGE SCRIPT``."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

DOCUMENTED_IMAGE = "ghcr.io/dask/dask:latest"


def with_image(manifest: Any, image: str) -> Any:
    """Return a manifest with another image than the documented one, which nodes may be unable to pull."""
    return json.loads(json.dumps(manifest).replace(json.dumps(DOCUMENTED_IMAGE), json.dumps(image)))


@contextmanager
def running_with(image: str) -> Iterator[None]:
    """Let each KubeCluster that would have the documented image have another one."""
    from dask_k8s_client import session

    original = session.manifest
    with mock.patch.object(session, "manifest", lambda options: with_image(original(options), image)):
        yield


if __name__ == "__main__":
    with running_with(sys.argv[1]):
        runpy.run_path(sys.argv[2], run_name="__main__")
