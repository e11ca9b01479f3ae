"""Flows in which one request of the controller's goes wrong, or is its last."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from dask_k8s_local.api import Fault, Faults, Request
from tests.harness.flows import (
    AUTOSCALERS,
    CLUSTERS,
    JOBS,
    Flow,
    await_shape,
    pods_created_since,
    version_of_pods,
)
from tests.harness.hasty import AGENT
from tests.harness.kube import Refused
from tests.harness.lab import Lab, Stage

Strike = Callable[..., Fault]
"""Makes a fault: given those of an API server, and which request it is about."""

FAULTS: dict[str, Strike] = {
    "409": partial(Faults.fail, code=409),
    "429": partial(Faults.fail, code=429),
    "500": partial(Faults.fail, code=500),
    "503": partial(Faults.fail, code=503),
    "no answer before the effect": Faults.hang,
    "no answer after the effect": partial(Faults.hang, after_effect=True),
    "connection broken after the effect": Faults.break_connection,
}


def asked(request: Request) -> str:
    """Return the verb and the resource of a request, such as ``patch daskclusters/status``."""
    resource = request.resource.partition(".")[0]
    return f"{request.verb} {resource}" + (f"/{request.subresource}" if request.subresource else "")


def is_the_controllers(request: Request) -> bool:
    return request.user_agent == AGENT


@dataclass(frozen=True)
class Break:
    """One request that goes wrong: the n-th of a verb and resource, as in ``create pods``."""

    request: str
    ordinal: int
    how: str
    strike: Strike

    def __str__(self) -> str:
        return f"{self.how} of request {self.ordinal} to {self.request}"

    def arm(self, faults: Faults, namespace: str) -> Fault:
        def concerns(request: Request) -> bool:
            is_here = is_the_controllers(request) and request.namespace == namespace
            return is_here and asked(request) == self.request

        return self.strike(faults, when=concerns, nth=self.ordinal)


def breaks(flow: Flow, ways: dict[str, Strike]) -> Iterator[Break]:
    """Yield every request of a flow that can be relied on to be made, in every way to break it."""
    for request, times in flow.requests.items():
        for ordinal in range(1, times + 1):
            for how, strike in ways.items():
                yield Break(request, ordinal, how, strike)


def some(flow: Flow, ways: dict[str, Strike], count: int) -> list[Break]:
    """Choose a few of these, always the same."""
    every = list(breaks(flow, ways))
    return random.Random(flow.name).sample(every, min(count, len(every)))


def run(lab: Lab, flow: Flow, broken: Break | None = None) -> Counter[str]:
    """Let a flow take place in a namespace of its own: see `run_in`."""
    with lab.stage() as stage:
        return run_in(stage, lab.faults, flow, broken)


def run_in(stage: Stage, faults: Faults, flow: Flow, broken: Break | None = None) -> Counter[str]:
    """Let a flow take place with one request broken, see where it ends, and return what was asked for it.

    The request has to be made, and nothing may be made twice.
    """
    flow.prepare(stage)
    await_shape(stage, flow.before)
    version = version_of_pods(stage)
    begun = len(faults.log)
    fault = broken.arm(faults, stage.namespace) if broken else None
    try:
        flow.act(stage)
        await_shape(stage, flow.after)
        if fault is not None:
            await_hit(fault)
        created = pods_created_since(stage, version)
        assert len(created) == flow.created, f"created {created}"
        # What was created a moment too late would show by now.
        await_shape(stage, flow.after)
        assert_unmarked(stage)
    except (AssertionError, TimeoutError, Refused) as error:
        error.add_note(f"{flow.name}, with {broken or 'nothing broken'}")
        raise
    finally:
        if fault is not None:
            faults.remove(fault)
    since = [request for request in faults.log[begun:] if is_the_controllers(request)]
    return Counter(asked(request) for request in since if request.namespace == stage.namespace)


def await_hit(fault: Fault) -> None:
    """Wait until a fault has struck: some requests follow when all is as it should be."""
    deadline = time.monotonic() + 10
    while not fault.hits:
        assert time.monotonic() < deadline, "the request that should have been broken was never made"
        time.sleep(0.02)


def assert_unmarked(stage: Stage) -> None:
    """The controller leaves neither finalizers nor kopf's notes on what users write."""
    for resource in (CLUSTERS, JOBS, AUTOSCALERS):
        for item in stage.kube.list(resource, stage.namespace):
            assert "finalizers" not in item["metadata"]
            assert not [key for key in item["metadata"].get("annotations", {}) if "kopf" in key]


def all_of(tries: Iterable[Callable[[], object]], at_once: int = 4) -> None:
    """Try all, several at a time; the failure tells of each that fails."""
    with ThreadPoolExecutor(at_once) as pool:
        futures = [pool.submit(attempt) for attempt in tries]
    errors = [error for future in futures if (error := future.exception()) is not None]
    if errors:
        raise BaseExceptionGroup(f"{len(errors)} of {len(futures)} failed", errors)
