"""The controller is killed after every single request, and another goes on from there."""

from __future__ import annotations

from functools import partial

import pytest

from dask_k8s_local.api import Fault, Faults
from tests.harness.breaking import Break, all_of, run_in
from tests.harness.flows import FLOWS, Flow
from tests.harness.lab import Lab


def run_killed(lab: Lab, flow: Flow, request: str, ordinal: int) -> None:
    """Let a flow take place with a controller of its own, for which this request is the last."""
    with lab.stage() as stage, lab.controller(stage.namespace) as controller:

        def strike(faults: Faults, **which: object) -> Fault:
            return faults.tell(controller.replace, times=1, **which)  # type: ignore[arg-type]

        run_in(stage, lab.faults, flow, Break(request, ordinal, "death after the effect", strike))


def test_the_controller_is_killed_after_some_requests(lab: Lab) -> None:
    """After the last of each kind of write that is no status, in one of the flows that have it."""
    chosen: dict[str, tuple[Flow, int]] = {}
    for flow in FLOWS:
        for request, times in flow.requests.items():
            if times and not request.endswith("/status"):
                chosen.setdefault(request, (flow, times))
    all_of(partial(run_killed, lab, flow, request, times) for request, (flow, times) in chosen.items())


@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("flow", FLOWS, ids=str)
def test_the_controller_is_killed_after_every_request(lab: Lab, flow: Flow) -> None:
    all_of(
        partial(run_killed, lab, flow, request, ordinal)
        for request, times in flow.requests.items()
        for ordinal in range(1, times + 1)
    )
