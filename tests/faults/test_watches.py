"""Watches break at any moment, and what happened meanwhile is never told: all converges nevertheless."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import pytest

from tests.harness.breaking import is_the_controllers, run
from tests.harness.flows import BY_NAME, GROUPS, NAME, Shape, await_shape, create, of
from tests.harness.kube import Object
from tests.harness.lab import Lab, Stage

pytestmark = pytest.mark.usefixtures("hasty")


@contextlib.contextmanager
def breaking_watches(lab: Lab) -> Iterator[None]:
    """Cut the controller's watches again and again."""
    is_over = threading.Event()

    def cut() -> None:
        while not is_over.wait(0.03):
            lab.faults.cut_watches(is_the_controllers)

    cutting = threading.Thread(target=cut)
    cutting.start()
    yield
    is_over.set()
    cutting.join()


@pytest.mark.parametrize("name", ["scale up", "scale down", "change the image", "resume"])
def test_watches_that_break_all_the_time(lab: Lab, name: str) -> None:
    with breaking_watches(lab):
        run(lab, BY_NAME[name])


def test_a_pod_that_vanishes_while_nobody_watches_is_replaced(lab: Lab, stage: Stage) -> None:
    create(2)(stage)
    await_shape(stage, Shape(of(2)))
    refused = lab.faults.fail(
        500, when=lambda request: is_the_controllers(request) and request.verb in ("watch", "list")
    )
    lab.faults.cut_watches(is_the_controllers)
    victim, *_ = stage.kube.list("pods", stage.namespace, "dask.org/component=worker")
    stage.kube.delete("pods", victim["metadata"]["name"], stage.namespace, gracePeriodSeconds=0)
    stage.kube.gone("pods", victim["metadata"]["name"], stage.namespace)
    lab.faults.forget_history()
    lab.faults.remove(refused)

    def is_replaced(pods: dict[str, Object]) -> bool:
        return victim["metadata"]["name"] not in pods and len(pods) == 3

    stage.kube.wait_all("pods", stage.namespace, until=is_replaced, timeout=30)
    await_shape(stage, Shape(of(2)))
    stage.kube.wait(
        GROUPS, f"{NAME}-default", stage.namespace, until=lambda group: group["status"]["readyReplicas"] == 2
    )
