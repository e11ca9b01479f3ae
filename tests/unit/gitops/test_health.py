"""What GitOps tools say of objects: Argo CD's check by a real Lua, Flux's expressions by a real CEL."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.harness.gitops import argo, flux
from tests.harness.kube import Object


@dataclass(frozen=True)
class Case:
    """An object's status, and what is to be said of it."""

    kind: str
    name: str
    status: Object | None
    argo: str
    flux: str
    message: str = ""
    generation: int = 2

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def conditions(**found: str) -> Object:
    """A status of now with conditions that are true, or false, each with its message."""
    return {
        "observedGeneration": 2,
        "conditions": [
            {
                "type": name.removeprefix("Not"),
                "status": "False" if name.startswith("Not") else "True",
                "message": message,
            }
            for name, message in found.items()
        ],
    }


KINDS = ("DaskCluster", "DaskWorkerGroup", "DaskAutoscaler", "DaskJob")

CASES = [
    *(Case(kind, "that nobody has looked at", None, "Progressing", "inProgress") for kind in KINDS),
    *(Case(kind, "that is new", {"observedGeneration": -1}, "Progressing", "inProgress") for kind in KINDS),
    *(
        Case(
            kind,
            "that has changed",
            conditions(Ready="all", Complete="all"),
            "Progressing",
            "inProgress",
            generation=3,
        )
        for kind in KINDS
    ),
    *(
        Case(
            kind,
            "that starts",
            conditions(NotReady="1 of 2", Reconciling="1 of 2", NotStalled=""),
            "Progressing",
            "inProgress",
            "1 of 2",
        )
        for kind in KINDS
    ),
    *(
        Case(kind, "that is ready", conditions(Ready="all", NotStalled=""), "Healthy", "current", "all")
        for kind in KINDS[:3]
    ),
    *(
        Case(
            kind,
            "that a person must mend",
            conditions(NotReady="no", Stalled="no such image"),
            "Degraded",
            "failed",
            "no such image",
        )
        for kind in KINDS
    ),
    *(
        Case(
            kind,
            "that is suspended",
            conditions(NotReady="spec.suspend is true", Suspended="spec.suspend is true", Reconciling=""),
            "Suspended",
            "current",
            "spec.suspend is true",
        )
        for kind in ("DaskCluster", "DaskWorkerGroup", "DaskJob")
    ),
    Case(
        "DaskJob",
        "that runs",
        {**conditions(NotReady="it runs", Reconciling="it runs"), "jobStatus": "Running"},
        "Progressing",
        "current",
        "it runs",
    ),
    Case(
        "DaskJob",
        "that is done",
        {**conditions(Complete="done", Ready="done"), "jobStatus": "Successful"},
        "Healthy",
        "current",
        "done",
    ),
    Case(
        "DaskJob",
        "that has failed",
        {**conditions(Failed="exit 1", NotReady="exit 1", Stalled="exit 1"), "jobStatus": "Failed"},
        "Degraded",
        "failed",
        "exit 1",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_health(case: Case) -> None:
    item: Object = {"kind": case.kind, "metadata": {"name": "x", "generation": case.generation}}
    if case.status is not None:
        item["status"] = case.status
    status, message = argo(item)
    assert status == case.argo
    assert case.message in (message or "")
    assert flux(item) == case.flux


@pytest.mark.parametrize(
    ("status", "health"),
    [
        (None, "Progressing"),
        ({"sync": {"status": "OutOfSync"}}, "Progressing"),
        ({"health": {"status": "Missing"}}, "Missing"),
        ({"health": {"status": "Degraded", "message": "no such image"}}, "Degraded"),
        ({"health": {"status": "Healthy"}}, "Healthy"),
    ],
)
def test_an_application_is_as_healthy_as_what_it_has(status: Object | None, health: str) -> None:
    item: Object = {"kind": "Application", "metadata": {"name": "dask-operator"}}
    if status is not None:
        item["status"] = status
    found, message = argo(item)
    assert found == health
    assert message == (status or {}).get("health", {}).get("message", "Argo CD has not looked at it yet")
