"""A pytest plugin for any project that has dask_k8s_local installed: the fixture ``local_kubernetes``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .cluster import LocalKubernetes


@pytest.fixture(scope="session")
def local_kubernetes() -> Iterator[LocalKubernetes]:
    """A local Kubernetes with the installed add-ons, to which ``KUBECONFIG`` points while the tests run."""
    from .cluster import LocalKubernetes

    with LocalKubernetes() as kubernetes:
        yield kubernetes
