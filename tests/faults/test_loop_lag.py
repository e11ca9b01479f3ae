"""How late the controller's event loop is under load, beside one that does nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Self

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from dask_k8s_controller.runtime.clock import RealClock
from dask_k8s_controller.runtime.metrics import LoopLag
from dask_k8s_controller.settings import Settings
from tests.conformance.waiting import eventually
from tests.conftest import is_local
from tests.harness.flows import created_at_once
from tests.harness.hasty import CONTEXT
from tests.harness.lab import Lab

LATE = 0.1
"""Seconds; also a bound of the histogram's."""


@dataclass(frozen=True)
class Lags:
    """How many calls came, how many of them late, and how late all were together."""

    calls: float
    late: float
    seconds: float

    def __sub__(self, before: Lags) -> Self:
        difference = (self.calls - before.calls, self.late - before.late, self.seconds - before.seconds)
        return type(self)(*difference)

    @property
    def share_late(self) -> float:
        return self.late / self.calls

    @property
    def mean(self) -> float:
        return self.seconds / self.calls


def lags_of(port: int) -> Lags:
    """Read the controller's histogram."""
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
    [family] = [
        family
        for family in text_string_to_metric_families(text)
        if family.name == "dask_controller_loop_lag_seconds"
    ]
    found = {(one.name.rpartition("_")[2], one.labels.get("le", "")): one.value for one in family.samples}
    calls = found["count", ""]
    return Lags(calls, calls - found["bucket", str(LATE)], found["sum", ""])


@contextmanager
def a_bare_loop() -> Iterator[list[Lags]]:
    """Measure the same in a process that does nothing else; yield a list that has the result afterwards."""
    here, there = CONTEXT.Pipe()
    process: Any = CONTEXT.Process(target=measure, args=(there,), daemon=True)
    process.start()
    there.close()
    assert here.recv() == "begun"
    result: list[Lags] = []
    yield result
    here.send("end")
    result.append(here.recv())
    process.join()


def measure(parent: Connection) -> None:
    asyncio.run(_measure(parent))


async def _measure(parent: Connection) -> None:
    lags: list[float] = []
    lag = LoopLag(RealClock(), lags.append)
    lag.start()
    parent.send("begun")
    await asyncio.to_thread(parent.recv)
    lag.stop()
    parent.send(Lags(len(lags), sum(one > LATE for one in lags), sum(lags)))


@pytest.mark.full
@pytest.mark.timeout(900)
def test_the_controller_is_hardly_later_than_a_bare_loop_while_fifty_clusters_start(
    request: pytest.FixtureRequest, lab: Lab, free_port: int
) -> None:
    """Others may keep the machine busy, which makes both late."""
    if not is_local(request.config):
        pytest.skip("the local Kubernetes is as fast as the load takes")
    with lab.controller(settings=Settings(health_port=free_port)):
        created_at_once(lab, 1)
        before = eventually(lambda: lags_of(free_port), until=lambda lags: lags.calls > 0)
        with a_bare_loop() as bare:
            took = created_at_once(lab, 50, workers=4)
            controllers = lags_of(free_port) - before
    for name, lags in (("the controller", controllers), ("a bare loop", bare[0])):
        print(f"{name}: {lags.calls:.0f} calls, {lags.mean:.4f} s late, {lags.share_late:.2%} over {LATE} s")
    assert controllers.calls > 10, f"within {took:.1f} s"
    assert controllers.share_late <= bare[0].share_late + 0.05
    assert controllers.mean <= bare[0].mean + LATE / 2
