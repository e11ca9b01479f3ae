"""Nothing is remembered of objects that are gone, however many there were."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from dask_k8s_controller.operator import Operator
from tests.conformance.waiting import eventually
from tests.harness.flows import CLUSTERS, manifest
from tests.harness.hasty import Orders
from tests.harness.kube import Kube, Object
from tests.harness.lab import Lab

AUTOSCALERS = "daskautoscalers.kubernetes.dask.org"
JOBS = "daskjobs.kubernetes.dask.org"
AT_A_TIME = 25

BY_KIND = {"Cache._stores", "Reconciler.kinds", "Watches._watches"}
"""What has an entry for each kind of objects, not for each object."""
BOUNDED = {"Store._deleted"}
"""What has an entry for each of the last 10,000 that are gone, whose late news is ignored."""


def remembered(operator: Operator) -> dict[str, Any]:
    """Every collection of the controller's parts that isn't empty."""
    found: dict[str, Any] = {}
    seen: set[int] = set()

    def look(part: Any) -> None:
        if id(part) in seen or not type(part).__module__.startswith("dask_k8s_controller."):
            return
        seen.add(id(part))
        for name, value in getattr(part, "__dict__", {}).items():
            where = f"{type(part).__name__}.{name}"
            if isinstance(value, dict | set | list):
                if where in BY_KIND:
                    for kind, one in value.items():
                        if kind != "Node":  # Nodes stay.
                            look(one)
                elif value and where not in BOUNDED:
                    found[where] = value
            else:
                look(value)

    parts = (operator.cache, operator.reconciler, operator.conversations, operator.recorder, operator.queue)
    for part in (*parts, operator.api, operator.watches):
        look(part)
    return found


def report_when_asked(operator: Operator, orders: Orders) -> None:
    """Have a controller sweep, and write down what it remembers then, whenever it gets a signal."""

    def report() -> None:
        operator.recorder.clock = operator.cache.clock = LaterClock(operator.clock)
        operator.reconciler.sweep()
        found = {where: str(value)[:1000] for where, value in remembered(operator).items()}
        unfinished = Path(f"{orders.log}.unfinished")
        unfinished.write_text(json.dumps(found))
        unfinished.rename(f"{orders.log}.remembered")

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, report)


class LaterClock:
    """A clock that is an hour ahead."""

    def __init__(self, clock: Any) -> None:
        self.now = clock.now
        self.call_later = clock.call_later
        self.monotonic = lambda: clock.monotonic() + 3600


def objects(number: int) -> list[Object]:
    """A cluster; every fifth has an autoscaler, every tenth belongs to a job."""
    name = f"life-{number}"
    cluster = manifest(1)
    cluster["metadata"]["name"] = name
    del cluster["spec"]["scheduler"]["service"]
    api = cluster["apiVersion"]
    if number % 10 == 9:
        container = {"name": "job", "image": "x", "command": ["sleep", "3600"]}
        spec = {**cluster["spec"]["worker"]["spec"], "containers": [container]}
        job = {"cluster": {"spec": cluster["spec"]}, "job": {"spec": spec}}
        return [{"apiVersion": api, "kind": "DaskJob", "metadata": {"name": name}, "spec": job}]
    if number % 5 == 4:
        scaler = {"cluster": name, "minimum": 1, "maximum": 2}
        metadata = {"name": name}
        return [cluster, {"apiVersion": api, "kind": "DaskAutoscaler", "metadata": metadata, "spec": scaler}]
    return [cluster]


def live_and_die(kube: Kube, namespace: str, numbers: range) -> None:
    for number in numbers:
        for one in objects(number):
            kube.create(one, namespace)
    kube.wait_all(
        CLUSTERS,
        namespace,
        until=lambda found: (
            len(found) == len(numbers)
            and all(one.get("status", {}).get("phase") == "Running" for one in found.values())
        ),
        timeout=300,
    )
    for resource in (JOBS, CLUSTERS):
        kube.request("DELETE", kube.path(resource, namespace))
    for resource in (CLUSTERS, AUTOSCALERS, "daskworkergroups.kubernetes.dask.org", "pods", "services"):
        kube.wait_all(resource, namespace, until=lambda found: not found, timeout=300)


@pytest.mark.parametrize(
    "count", [15, pytest.param(1000, marks=[pytest.mark.full, pytest.mark.timeout(2400)])]
)
def test_lifecycles_leave_nothing_behind(lab: Lab, count: int) -> None:
    with lab.controller(beside=report_when_asked) as controller, lab.stage() as stage:
        for first in range(0, count, AT_A_TIME):
            live_and_die(lab.kube, stage.namespace, range(first, first + AT_A_TIME))
        report = Path(f"{controller.orders.log}.remembered")

        def left() -> dict[str, str]:
            controller.send(signal.SIGUSR1)
            found: dict[str, str] = (
                json.loads(report.read_text()) if report.exists() else {"": "no report yet"}
            )
            return found

        eventually(left, until=lambda found: not found)
