"""Kubernetes Events: what they say, how few they are, and that a lost one is no loss."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from dask_k8s_controller.cache.objects import Meta
from dask_k8s_controller.kubernetes.recorder import EventRecorder
from dask_k8s_controller.kubernetes.resources import CLUSTERS
from dask_k8s_controller.plans.notices import Notice
from dask_k8s_controller.settings import EventSettings
from tests.harness.by_hand import ControllerByHand
from tests.unit.controller.builders import cluster

READY = Notice("Ready", "All is well.")
REFUSED = Notice("Refused", "That can't be.", is_warning=True)


@dataclass
class Recording:
    """A recorder, and what the API server has of it."""

    controller: ControllerByHand
    recorder: EventRecorder

    def meta(self, name: str = "c", uid: str = "cluster") -> Meta:
        return cluster(name, uid, metadata={"namespace": self.controller.namespace}).meta

    def record(self, *notices: Notice, meta: Meta | None = None) -> None:
        for notice in notices:
            self.recorder.record(CLUSTERS, meta or self.meta(), notice)

    async def events(self) -> list[dict[str, Any]]:
        """Return what has been written by now, in the order in which it was."""
        await self.recorder.stop()
        found = self.controller.kube.list("events", self.controller.namespace)
        return sorted(found, key=lambda event: int(event["metadata"]["resourceVersion"]))


@pytest.fixture
async def recording(by_hand: ControllerByHand) -> AsyncIterator[Recording]:
    yield Recording(by_hand, by_hand.recorder)
    await by_hand.recorder.stop()


def with_settings(recording: Recording, **settings: Any) -> Recording:
    controller = recording.controller
    return Recording(controller, EventRecorder(controller.api, controller.clock, EventSettings(**settings)))


async def test_an_event_names_its_object(recording: Recording) -> None:
    recording.record(READY)
    (event,) = await recording.events()
    assert event["involvedObject"]["uid"] == "cluster"
    assert event["involvedObject"]["kind"] == "DaskCluster"
    assert (event["type"], event["reason"], event["message"]) == ("Normal", "Ready", "All is well.")


async def test_the_same_is_not_said_again_soon(recording: Recording) -> None:
    recording.record(READY, READY, READY)
    recording.controller.clock.advance(59)
    recording.record(READY)
    recording.controller.clock.advance(2)
    recording.record(READY)
    assert len(await recording.events()) == 2


async def test_none_if_nobody_wants_any(recording: Recording) -> None:
    silent = with_settings(recording, enabled=False)
    silent.record(READY, REFUSED)
    assert await silent.events() == []


async def test_warnings_alone_if_nobody_wants_others(recording: Recording) -> None:
    sparing = with_settings(recording, level="WARNING")
    sparing.record(READY, REFUSED)
    assert [event["type"] for event in await sparing.events()] == ["Warning"]


async def test_another_reason_and_another_object_are_told_at_once(recording: Recording) -> None:
    recording.record(READY, REFUSED)
    recording.record(READY, meta=recording.meta("other", "other"))
    told = {(event["involvedObject"]["uid"], event["reason"]) for event in await recording.events()}
    assert told == {("cluster", "Ready"), ("cluster", "Refused"), ("other", "Ready")}


async def test_a_message_is_as_long_as_kubernetes_takes_it(recording: Recording) -> None:
    recording.record(Notice("Ready", "x" * 2000))
    (event,) = await recording.events()
    assert event["message"] == "x" * 1024


async def test_one_that_is_lost_is_no_loss(recording: Recording) -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, complaint: complaints.append(complaint))
    controller = recording.controller
    fault = controller.kubernetes.faults.fail(403, when=controller.asks("create", "events"))
    recording.record(READY)
    assert await recording.events() == []
    assert fault.hits == 1
    controller.kubernetes.faults.remove(fault)
    recording.record(REFUSED)
    assert [event["reason"] for event in await recording.events()] == ["Refused"]
    gc.collect()  # An exception that nobody takes is told when its task goes.
    assert complaints == []


async def test_none_is_written_once_another_replica_leads(recording: Recording) -> None:
    recording.record(READY)
    recording.recorder.cancel()
    assert await recording.events() == []


async def test_what_was_said_just_now_is_not_swept_away(recording: Recording) -> None:
    recording.record(READY)
    recording.controller.clock.advance(59)
    recording.recorder.sweep()
    recording.record(READY)
    assert len(await recording.events()) == 1
