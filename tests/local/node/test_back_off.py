"""Restarts wait as kubelet lets them wait."""

from __future__ import annotations

import pytest

from dask_k8s_local.node.pods import back_off
from dask_k8s_local.node.pods.back_off import BackOff, duration


def test_the_first_restart_is_immediate_then_delays_double_up_to_five_minutes() -> None:
    waits = BackOff(1.0)
    assert [waits.next() for _ in range(8)] == [0, 10, 20, 40, 80, 160, 300, 300]


def test_a_long_quiet_time_is_a_new_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 1000.0
    monkeypatch.setattr(back_off.time, "monotonic", lambda: clock)
    waits = BackOff(1.0)
    assert [waits.next(), waits.next()] == [0, 10]
    clock += 601
    assert [waits.next(), waits.next()] == [0, 10]


def test_durations_are_written_as_go_writes_them() -> None:
    assert [duration(seconds) for seconds in (10, 160, 300)] == ["10s", "2m40s", "5m0s"]
