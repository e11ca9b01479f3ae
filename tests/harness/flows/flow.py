"""What a flow is, and the pods that are made for one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.harness.flows.shapes import NOTHING, Shape
from tests.harness.kube import Kube
from tests.harness.lab import Stage

Act = Callable[[Stage], object]

TOLD = {"create events": 1, "patch daskclusters/status": 1, "patch daskworkergroups/status": 1}
"""What tells of a cluster's change."""

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Flow:
    """One thing that a user does.

    Parameters
    ----------
    name : str
        How it is called.
    act : callable
        Does it.
    after : Shape
        What it leads to.
    created : int
        How many pods are made for it, if nothing is made twice.
    requests : mapping
        What the controller asks for it, by verb and resource, and how often it does so at least: several
        changes of a status may be written at once, and the garbage collector may be quicker: then it's 0.
    prepare : callable
        Does what comes before.
    before : Shape
        What that leads to.
    """

    name: str
    act: Act
    after: Shape
    created: int
    requests: Mapping[str, int]
    prepare: Act = lambda _: None
    before: Shape = NOTHING

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


def then(*acts: Act) -> Act:
    def act(stage: Stage) -> None:
        for one in acts:
            one(stage)

    return act


def version_of_pods(stage: Stage) -> str:
    """Return the resource version from which `pods_created_since` counts."""
    listing = stage.kube.request("GET", Kube.path("pods", stage.namespace))
    return str(listing["metadata"]["resourceVersion"])


def pods_created_since(stage: Stage, version: str) -> list[str]:
    """Return the names of all pods that were ever created since, as a watch tells, in their order."""
    last = f"last-{next(_numbers)}"
    container = {"name": "last", "image": "busybox", "command": ["sleep", "1"]}
    marker = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": last},
        "spec": {"containers": [container], "nodeSelector": {"test.dask.org/no-such": "node"}},
    }
    stage.kube.create(marker, stage.namespace)
    created: list[str] = []
    for event, pod in stage.kube.watch("pods", stage.namespace, resourceVersion=version):
        name = pod["metadata"]["name"]
        if name == last:
            stage.kube.delete("pods", last, stage.namespace, gracePeriodSeconds=0)
            return created
        if event == "ADDED":
            created.append(name)
    raise AssertionError("the watch ended before the last pod came")
