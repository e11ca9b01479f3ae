"""What users do with autoscalers."""

from __future__ import annotations

from tests.harness.flows.clusters import create
from tests.harness.flows.flow import Act, Flow, then
from tests.harness.flows.shapes import AUTOSCALERS, NAME, Shape, of
from tests.harness.lab import Stage

AT_ONCE = {
    "scaleUp": {"stabilizationWindowSeconds": 0},
    "scaleDown": {"stabilizationWindowSeconds": 0, "maxPercent": 100},
}


def want(workers: int) -> Act:
    def act(stage: Stage) -> None:
        stage.schedulers.demand[stage.namespace] = workers

    return act


def attach(minimum: int) -> Act:
    body = {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskAutoscaler",
        "metadata": {"name": NAME},
        "spec": {"cluster": NAME, "minimum": minimum, "maximum": 5, "behavior": AT_ONCE},
    }
    return lambda stage: stage.kube.create(body, stage.namespace)


def detach(stage: Stage) -> None:
    stage.kube.delete(AUTOSCALERS, NAME, stage.namespace)


def autoscaled(workers: int) -> Shape:
    return Shape(of(workers), autoscaler={"desiredReplicas": workers, "currentReplicas": workers})


FLOWS = (
    Flow(
        "autoscale up",
        want(4),
        autoscaled(4),
        3,
        {
            "patch daskworkergroups/scale": 1,
            "create pods": 3,
            "create events": 1,
            "patch daskautoscalers/status": 1,
            "patch daskclusters/status": 1,
            "patch daskworkergroups/status": 1,
        },
        then(want(1), create(1), attach(1)),
        autoscaled(1),
    ),
    Flow(
        "autoscale down",
        want(1),
        autoscaled(1),
        0,
        {
            "patch daskworkergroups/scale": 1,
            "patch pods": 3,
            "delete pods": 3,
            "create events": 1,
            "patch daskautoscalers/status": 1,
            "patch daskclusters/status": 1,
            "patch daskworkergroups/status": 1,
        },
        then(want(4), create(4), attach(1)),
        autoscaled(4),
    ),
    Flow(
        "autoscale to zero",
        want(0),
        autoscaled(0),
        0,
        {
            "patch daskworkergroups/scale": 1,
            "patch pods": 2,
            "delete pods": 2,
            "create events": 1,
            "patch daskautoscalers/status": 1,
            "patch daskclusters/status": 1,
            "patch daskworkergroups/status": 1,
        },
        then(want(2), create(2), attach(0)),
        autoscaled(2),
    ),
    Flow(
        "attach an autoscaler",
        attach(3),
        autoscaled(3),
        2,
        {
            "patch daskautoscalers": 1,
            "patch daskworkergroups/scale": 1,
            "create pods": 2,
            "create events": 1,
            "patch daskautoscalers/status": 1,
            "patch daskclusters/status": 1,
            "patch daskworkergroups/status": 1,
        },
        then(want(1), create(1)),
        Shape(of(1)),
    ),
    Flow(
        "detach an autoscaler",
        then(detach, want(5)),
        Shape(of(2)),
        0,
        {},
        then(want(2), create(2), attach(1)),
        autoscaled(2),
    ),
)
