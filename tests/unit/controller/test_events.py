"""Events are few: one for each change of an object's state."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

from dask_k8s_controller.kubernetes.errors import Unavailable
from dask_k8s_controller.kubernetes.recorder import EventRecorder
from dask_k8s_controller.kubernetes.resources import CLUSTERS
from dask_k8s_controller.plans.notices import Notice, changes
from dask_k8s_controller.settings import EventSettings
from tests.unit.controller.builders import cluster
from tests.unit.controller.clocks import ManualClock


def status(**conditions: tuple[bool, str]) -> dict[str, Any]:
    return {
        "conditions": [
            {"type": name, "status": str(holds), "reason": reason, "message": f"{reason}!"}
            for name, (holds, reason) in conditions.items()
        ]
    }


READY = status(Ready=(True, "Ready"), Stalled=(False, "NotStalled"))


class TestWhatIsWorthAnEvent:
    def test_becoming_ready(self) -> None:
        before = status(Ready=(False, "WorkersNotReady"))
        assert changes(before, READY) == [Notice("Ready", "Ready!")]

    def test_no_longer_being_ready(self) -> None:
        after = status(Ready=(False, "SchedulerMissing"))
        assert changes(READY, after) == [Notice("SchedulerMissing", "SchedulerMissing!", is_warning=True)]

    def test_being_suspended_is_no_warning(self) -> None:
        assert changes(READY, status(Ready=(False, "Suspended"))) == [Notice("Suspended", "Suspended!")]

    def test_being_stalled_is_told_once(self) -> None:
        after = status(Ready=(False, "Refused"), Stalled=(True, "Refused"))
        assert changes(READY, after) == [Notice("Refused", "Refused!", is_warning=True)]

    def test_nothing_while_nothing_changes(self) -> None:
        assert changes(READY, READY) == []

    def test_nothing_while_it_starts(self) -> None:
        assert changes({}, status(Ready=(False, "WorkersNotReady"))) == []


class Recorder:
    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.tries = 0
        self.fails = False

    async def create(self, resource: Any, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        self.tries += 1
        if self.fails:
            raise Unavailable("no")
        self.events.append(body)
        return body


def writer(recorder: Recorder, **settings: Any) -> tuple[EventRecorder, ManualClock]:
    clock = ManualClock()
    return EventRecorder(recorder, clock, EventSettings(**settings)), clock  # type: ignore[arg-type]


class TestWriting:
    meta = cluster().meta

    async def test_an_event_names_its_object(self) -> None:
        recorder = Recorder()
        events, _ = writer(recorder)
        events.record(CLUSTERS, self.meta, Notice("Ready", "All is well."))
        await events.stop()
        (event,) = recorder.events
        assert event["involvedObject"]["uid"] == self.meta.uid
        assert event["involvedObject"]["kind"] == "DaskCluster"
        assert (event["type"], event["reason"], event["message"]) == ("Normal", "Ready", "All is well.")

    async def test_the_same_is_not_said_again_soon(self) -> None:
        recorder = Recorder()
        events, clock = writer(recorder)
        for _ in range(3):
            events.record(CLUSTERS, self.meta, Notice("Ready", "All is well."))
        clock.advance(61)
        events.record(CLUSTERS, self.meta, Notice("Ready", "All is well."))
        await events.stop()
        assert len(recorder.events) == 2

    async def test_none_if_nobody_wants_any(self) -> None:
        recorder = Recorder()
        events, _ = writer(recorder, enabled=False)
        events.record(CLUSTERS, self.meta, Notice("Ready", ""))
        await events.stop()
        assert recorder.events == []

    async def test_warnings_alone_if_nobody_wants_others(self) -> None:
        recorder = Recorder()
        events, _ = writer(recorder, level="WARNING")
        events.record(CLUSTERS, self.meta, Notice("Ready", ""))
        events.record(CLUSTERS, self.meta, Notice("Refused", "", is_warning=True))
        await events.stop()
        assert [event["type"] for event in recorder.events] == ["Warning"]

    async def test_another_reason_and_another_object_are_told_at_once(self) -> None:
        recorder = Recorder()
        events, _ = writer(recorder)
        events.record(CLUSTERS, self.meta, Notice("Ready", ""))
        events.record(CLUSTERS, self.meta, Notice("Refused", "", is_warning=True))
        events.record(CLUSTERS, cluster("other", uid="other").meta, Notice("Ready", ""))
        await events.stop()
        told = [(event["involvedObject"]["uid"], event["reason"]) for event in recorder.events]
        assert told == [(self.meta.uid, "Ready"), (self.meta.uid, "Refused"), ("other", "Ready")]

    async def test_a_message_is_as_long_as_kubernetes_takes_it(self) -> None:
        recorder = Recorder()
        events, _ = writer(recorder)
        events.record(CLUSTERS, self.meta, Notice("Ready", "x" * 2000))
        await events.stop()
        assert recorder.events[0]["message"] == "x" * 1024

    async def test_one_that_is_lost_is_no_loss(self) -> None:
        complaints: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, complaint: complaints.append(complaint))
        recorder = Recorder()
        recorder.fails = True
        events, _ = writer(recorder)
        events.record(CLUSTERS, self.meta, Notice("Ready", ""))
        await events.stop()
        assert (recorder.tries, recorder.events) == (1, [])
        recorder.fails = False
        events.record(CLUSTERS, self.meta, Notice("Refused", ""))
        await events.stop()
        assert [event["reason"] for event in recorder.events] == ["Refused"]
        gc.collect()  # An exception that nobody takes is told when its task goes.
        assert complaints == []

    async def test_none_is_written_once_another_replica_leads(self) -> None:
        recorder = Recorder()
        events, _ = writer(recorder)
        events.record(CLUSTERS, self.meta, Notice("Ready", ""))
        events.cancel()
        await events.stop()
        assert recorder.tries == 0

    async def test_what_was_said_just_now_is_not_swept_away(self) -> None:
        recorder = Recorder()
        events, clock = writer(recorder)
        events.record(CLUSTERS, self.meta, Notice("Ready", ""))
        clock.advance(59)
        events.sweep()
        events.record(CLUSTERS, self.meta, Notice("Ready", ""))
        await events.stop()
        assert recorder.tries == 1
