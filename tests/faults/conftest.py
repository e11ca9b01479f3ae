"""A Kubernetes whose pods run nothing, and a hasty controller beside it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness.hasty import HastyController
from tests.harness.lab import Lab, Stage, a_lab


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    with a_lab(request) as found:
        yield found


@pytest.fixture
def stage(lab: Lab) -> Iterator[Stage]:
    with lab.stage() as found:
        yield found


@pytest.fixture(scope="module")
def hasty(lab: Lab) -> Iterator[HastyController]:
    """A controller of all namespaces."""
    with lab.controller() as controller:
        yield controller
