"""An autoscaler that is deleted has no say any more, whatever it has decided before."""

from __future__ import annotations

import asyncio
import signal
import threading

from dask_k8s_client.api import Api
from dask_k8s_client.groups import Groups
from dask_k8s_local.api import Request
from tests.harness.breaking import asked, is_the_controllers
from tests.harness.flows import GROUPS, NAME, Shape, await_shape, create, of
from tests.harness.flows.autoscalers import attach, want
from tests.harness.lab import Lab, Stage


async def scale_by_hand(lab: Lab, stage: Stage, workers: int) -> None:
    async with Api(kubeconfig=lab.kubeconfig) as api:
        await Groups(api, stage.namespace, NAME).scale(workers, "default")


def test_the_number_that_a_group_has_already_is_kept_when_autoscaling_ends(lab: Lab, stage: Stage) -> None:
    def is_its_decision(request: Request) -> bool:
        is_to_scale = asked(request) == "patch daskworkergroups/scale" and is_the_controllers(request)
        return is_to_scale and request.namespace == stage.namespace

    has_ended = threading.Event()

    def end_it() -> None:
        asyncio.run(scale_by_hand(lab, stage, 1))
        has_ended.set()

    with lab.controller(stage.namespace) as controller:
        create(1)(stage)
        await_shape(stage, Shape(of(1)))
        lab.faults.tell(end_it, after_effect=False, when=is_its_decision, times=1)
        want(0)(stage)
        attach(0)(stage)
        assert has_ended.wait(30 * stage.patience)
        assert controller.end(signal.SIGTERM) == 0
    assert stage.kube.get(GROUPS, f"{NAME}-default", stage.namespace)["spec"]["worker"]["replicas"] == 1
