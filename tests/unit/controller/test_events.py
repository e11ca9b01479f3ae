"""Events are few: one for each change of an object's state."""

from __future__ import annotations

from typing import Any

from dask_k8s_controller.plans.notices import Notice, changes


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
