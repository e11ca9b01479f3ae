"""Every single request of the controller fails once, in every way: all converges, nothing is made twice."""

from __future__ import annotations

from functools import partial

import pytest

from tests.harness.breaking import FAULTS, all_of, breaks, run, some
from tests.harness.flows import FLOWS, Flow
from tests.harness.lab import Lab

pytestmark = pytest.mark.usefixtures("hasty")

FLOW = pytest.mark.parametrize("flow", FLOWS, ids=str)


@FLOW
def test_some_requests_fail(lab: Lab, flow: Flow) -> None:
    """A few of what `test_every_request_fails_in_every_way` tries, and once nothing."""
    all_of(
        [
            partial(assert_the_table_is_complete, lab, flow),
            *(partial(run, lab, flow, one) for one in some(flow, FAULTS, 3)),
        ]
    )


def assert_the_table_is_complete(lab: Lab, flow: Flow) -> None:
    """All requests that change anything but a status or an Event stand in the table of flows."""
    made = run(lab, flow)
    changes = {
        request
        for request in made
        if not request.startswith(("get ", "list ")) and not request.endswith(("/status", " events"))
    }
    assert changes <= flow.requests.keys(), f"{flow.name} has other requests too"


@pytest.mark.full
@pytest.mark.timeout(1800)
@FLOW
def test_every_request_fails_in_every_way(lab: Lab, flow: Flow) -> None:
    every = list(breaks(flow, FAULTS))
    all_of(partial(run, lab, flow, one) for one in every)
    print(f"{flow.name}: {len(every)} requests broken")
