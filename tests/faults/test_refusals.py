"""Policies that refuse pods: told, and in nobody else's way."""

from __future__ import annotations

import pytest

from dask_k8s_local.api import Request
from tests.harness.breaking import asked
from tests.harness.flows import CLUSTERS, NAME, Shape, await_shape, create, holds, of
from tests.harness.kube import Object
from tests.harness.lab import Lab, Stage

UNSIGNED = 'admission webhook "policy.example.com" denied the request: the image is not signed'


def message_of(found: Object, condition: str) -> str:
    conditions = found.get("status", {}).get("conditions", ())
    return next((item["message"] for item in conditions if item["type"] == condition), "")


@pytest.mark.usefixtures("hasty")
def test_what_an_admission_webhook_says_is_told_in_its_words(lab: Lab, stage: Stage) -> None:
    def is_refused(request: Request) -> bool:
        return asked(request) == "create pods" and request.namespace == stage.namespace

    policy = lab.faults.fail(403, UNSIGNED, when=is_refused)
    create(2)(stage)
    told = stage.kube.wait(
        CLUSTERS, NAME, stage.namespace, until=lambda found: UNSIGNED in message_of(found, "Ready")
    )
    assert holds(told, "Stalled") or holds(told, "Reconciling")
    with lab.stage() as other:
        create(2)(other)
        await_shape(other, Shape(of(2)))

    lab.faults.remove(policy)
    await_shape(stage, Shape(of(2)))
