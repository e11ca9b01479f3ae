"""What a person sees."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from dask_k8s_client import ages, display, notebook
from dask_k8s_client.observe import Observed
from dask_k8s_client.views import Plain, Quiet, Terminal, suitable
from tests.unit.client.objects import (
    READY,
    by_name,
    cluster,
    group,
    observed,
    scheduler_pod,
    service,
    unschedulable,
    waiting,
    warning,
    worker_pod,
)

RUNNING = observed(
    pods=by_name(scheduler_pod(**READY), worker_pod("w1", **READY), worker_pod("w2", **READY)),
    groups=by_name(group("foo-gpu", replicas=0), group()),
    service=service(),
)


def shown(seen: Observed) -> dict[str, str]:
    return {row.component: str(row.state) for row in display.rows(seen)}


def test_a_running_cluster() -> None:
    assert shown(RUNNING) == {
        "DaskCluster": "Running",
        "Scheduler Pod": "Running",
        "Scheduler Service": "ClusterIP",
        "Workers (default)": "2/2 ready",
        "Workers (gpu)": "0/0 ready",
    }
    assert {row.state.level for row in display.rows(RUNNING)} == {"good"}


def test_the_default_group_comes_first() -> None:
    assert [row.component for row in display.rows(RUNNING)][3:] == ["Workers (default)", "Workers (gpu)"]


def test_a_cluster_that_nobody_has_seen() -> None:
    seen = shown(observed(cluster=cluster(phase="")))
    assert seen["DaskCluster"] == "Waiting: no operator has acted on it yet"
    assert seen["Scheduler Pod"] == "-"


def test_a_group_tells_what_ails_its_workers() -> None:
    ailing = observed(
        pods=by_name(worker_pod("w1", **READY), worker_pod("w2", **unschedulable("no room"))),
        groups=by_name(group()),
    )
    row = display.group_row(ailing, "foo-default")
    assert (row.state.level, str(row.state)) == ("bad", "1/2 ready: Unschedulable: no room")


def test_an_operators_complaint_is_shown() -> None:
    stalled = group()
    condition = {"type": "Stalled", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"}
    stalled["status"] = {"conditions": [condition]}
    row = display.group_row(observed(groups=by_name(stalled)), "foo-default")
    assert str(row.state) == "0/2 ready: FailedCreate: exceeded quota"


def test_warnings_come_once_and_without_failed_probes() -> None:
    events = {
        "1": warning("FailedScheduling", "no room"),
        "2": warning("FailedScheduling", "no room"),
        "3": warning("Unhealthy", "Readiness probe failed"),
        "4": {"type": "Normal", "reason": "Pulled"},
    }
    assert display.warnings(observed(events=events)) == ["foo-scheduler: FailedScheduling: no room"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (119, "119s"), (120, "2m"), (7200, "2h"), (3 * 86400, "3d"), (-5, "0s")]
)
def test_spans_are_written_as_kubectl_does(seconds: float, text: str) -> None:
    assert ages.span(seconds) == text


def test_html_escapes_what_kubernetes_says() -> None:
    evil = observed(pods=by_name(scheduler_pod(**waiting("ErrImagePull", "<script>alert(1)</script>"))))
    assert "<script>" not in notebook.components(evil)
    assert "&lt;script&gt;" in notebook.components(evil)
    assert "&lt;b&gt;" in notebook.progress("<b>", evil, "<i>")


def test_a_notebook_tells_since_when_in_words_that_do_not_change() -> None:
    """A widget folds what a person has unfolded whenever its text changes."""
    page = notebook.components(RUNNING) + notebook.pods_table(RUNNING)
    assert "since 2026-01-01 00:00" in page.replace("2025-12-31", "2026-01-01")
    assert not re.search(r">\d+[smhd]<", page)


def test_the_progress_of_a_start_tells_ages() -> None:
    assert re.search(r">\d+d<", notebook.progress("KubeCluster foo", RUNNING, ""))


def test_a_time_of_today_needs_no_date() -> None:
    now = datetime.now(UTC)
    assert ages.clock(now, now).startswith(f"since {now.astimezone():%H:%M:%S}")
    assert ages.clock(now - timedelta(days=2), now).startswith("since 20")
    assert ages.clock(None) == ""


def test_a_cluster_that_somebody_deleted_is_gone() -> None:
    assert shown(Observed("foo"))["DaskCluster"] == "Gone: it doesn't exist any more"


def test_the_terminal_shows_components_warnings_and_the_step() -> None:
    console = Console(record=True, width=90, file=open("/dev/null", "w"))  # noqa: SIM115
    view = Terminal("KubeCluster foo", console)
    view.log("Waiting for scheduler pod")
    seen = observed(
        pods=by_name(scheduler_pod(**unschedulable("0/1 nodes"))),
        events={"e": warning("FailedMount", "no volume")},
    )
    console.print(view.picture(seen, is_over=False))
    console.file.close()
    text = console.export_text()
    for expected in (
        "KubeCluster foo",
        "Unschedulable",
        "0/1 nodes",
        "FailedMount",
        "Waiting for scheduler pod",
    ):
        assert expected in text


def test_quiet_shows_nothing() -> None:
    assert isinstance(suitable("foo", quiet=True), Quiet)


def test_without_a_terminal_there_are_plain_lines() -> None:
    assert isinstance(suitable("foo", quiet=False), Plain)


class StaticObserver:
    """Shows one state, and never a change."""

    name = "foo"

    def __init__(self, now: Observed) -> None:
        self.now = now
        self.pulse = asyncio.Event()


async def test_plain_lines_tell_each_trouble_once() -> None:
    lines: list[str] = []
    observer = StaticObserver(observed(pods=by_name(scheduler_pod(**unschedulable("0/1 nodes")))))
    task = asyncio.create_task(Plain(lines.append).watch(observer))  # type: ignore[arg-type]
    pulse = observer.pulse
    for _ in range(3):
        await asyncio.sleep(0)
        pulse.set()
        observer.pulse = pulse = asyncio.Event()
    task.cancel()
    assert lines == ["Scheduler Pod: Unschedulable: 0/1 nodes"]
