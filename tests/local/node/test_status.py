"""Phase and conditions follow from the containers' states, as kubelet derives them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from dask_k8s_local.node.pods.status import ContainerRecord, PodRecord, pod_phase, pod_status

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
WAITING = {"waiting": {"reason": "ContainerCreating"}}
RUNNING = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
SUCCEEDED = {"terminated": {"exitCode": 0}}
FAILED = {"terminated": {"exitCode": 1}}


def a_record(
    *states: dict[str, Any],
    init: tuple[dict[str, Any], ...] = (),
    sidecars: tuple[dict[str, Any], ...] = (),
    policy: str = "Always",
    **fields: Any,
) -> PodRecord:
    pod = {"metadata": {"name": "pod"}, "spec": {"restartPolicy": policy}, "status": {}}
    record = PodRecord(pod, MOMENT, "127.64.0.1", "127.64.0.2", **fields)
    record.containers = [ContainerRecord({"name": f"c{i}"}, state) for i, state in enumerate(states)]
    record.init_containers = [ContainerRecord({"name": f"i{i}"}, state) for i, state in enumerate(init)]
    record.init_containers += [
        ContainerRecord({"name": f"s{i}", "restartPolicy": "Always"}, state, is_started="running" in state)
        for i, state in enumerate(sidecars)
    ]
    return record


def crashed(record: PodRecord) -> PodRecord:
    for container in record.containers:
        container.last_state = FAILED
    return record


@pytest.mark.parametrize(
    ("record", "phase"),
    [
        (a_record(WAITING), "Pending"),
        (a_record(RUNNING, WAITING), "Pending"),
        (a_record(RUNNING), "Running"),
        (a_record(RUNNING, FAILED), "Running"),
        (a_record(SUCCEEDED), "Running"),
        (a_record(SUCCEEDED, policy="OnFailure"), "Succeeded"),
        (a_record(SUCCEEDED, FAILED, policy="OnFailure"), "Running"),
        (a_record(SUCCEEDED, FAILED, policy="Never"), "Failed"),
        (a_record(SUCCEEDED, SUCCEEDED, policy="Never"), "Succeeded"),
        (crashed(a_record(WAITING)), "Running"),
        (a_record(WAITING, init=(RUNNING,)), "Pending"),
        (a_record(WAITING, init=(SUCCEEDED,)), "Pending"),
        (a_record(WAITING, init=(FAILED,)), "Pending"),
        (a_record(WAITING, init=(FAILED,), policy="Never"), "Failed"),
        (a_record(RUNNING, init=(SUCCEEDED,)), "Running"),
        (a_record(RUNNING, sidecars=(RUNNING,)), "Running"),
        (a_record(SUCCEEDED, sidecars=(RUNNING,), policy="Never"), "Running"),
        (a_record(SUCCEEDED, sidecars=(FAILED,), policy="Never"), "Succeeded"),
        (a_record(SUCCEEDED, is_ending=True), "Succeeded"),
        (a_record(FAILED, is_ending=True), "Failed"),
        (a_record(RUNNING, failure=("DeadlineExceeded", "too late")), "Running"),
        (a_record(FAILED, failure=("DeadlineExceeded", "too late")), "Failed"),
    ],
)
def test_phase(record: PodRecord, phase: str) -> None:
    assert pod_phase(record) == phase


def conditions(record: PodRecord) -> dict[str, tuple[str, str | None]]:
    status = pod_status(record, MOMENT)
    return {c["type"]: (c["status"], c.get("reason")) for c in status["conditions"]}


def test_a_running_pod_without_probes_is_ready() -> None:
    record = a_record(RUNNING)
    record.containers[0].is_ready = True
    assert set(conditions(record).values()) == {("True", None)}


def test_a_pod_that_initializes_says_what_is_incomplete() -> None:
    assert conditions(a_record(WAITING, init=(RUNNING,)))["Initialized"] == (
        "False",
        "ContainersNotInitialized",
    )


def test_an_unready_sidecar_makes_the_pod_unready() -> None:
    record = a_record(RUNNING, sidecars=(RUNNING,))
    record.containers[0].is_ready = True
    assert conditions(record)["Ready"] == ("False", "ContainersNotReady")
    record.init_containers[0].is_ready = True
    assert conditions(record)["Ready"] == ("True", None)


def test_a_condition_keeps_its_time_until_its_status_changes() -> None:
    record = a_record(RUNNING)
    record.pod["status"] = pod_status(record, MOMENT)
    later = datetime(2026, 1, 2, tzinfo=UTC)
    record.containers[0].is_ready = True
    times = {c["type"]: c["lastTransitionTime"] for c in pod_status(record, later)["conditions"]}
    assert times["Ready"] == "2026-01-02T00:00:00Z"
    assert times["PodScheduled"] == "2026-01-01T00:00:00Z"


def test_conditions_of_others_stay() -> None:
    record = a_record(RUNNING)
    other = {"type": "DisruptionTarget", "status": "True"}
    record.pod["status"] = {"conditions": [other]}
    assert other in pod_status(record, MOMENT)["conditions"]
