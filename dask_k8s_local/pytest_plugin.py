"""A pytest plugin for any project that has dask_k8s_local installed: the fixture ``local_kubernetes``.

Every pytest run of such an environment imports this module, so it imports nothing but pytest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .cluster import LocalKubernetes


@pytest.fixture(scope="session")
def local_kubernetes() -> Iterator[LocalKubernetes]:
    """A local Kubernetes with the installed add-ons, to which ``KUBECONFIG`` points while the tests run."""
    try:
        from . import LocalKubernetes
    except ImportError as error:
        pytest.fail(str(error), pytrace=False)

    with LocalKubernetes() as kubernetes:
        yield kubernetes
