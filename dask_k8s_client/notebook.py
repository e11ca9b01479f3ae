"""What a notebook shows of a cluster, as HTML. Pure functions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from html import escape
from typing import Any

from dask_k8s_client import ages, display, pods
from dask_k8s_client.observe import Observed

Json = dict[str, Any]

COLORS = {"good": "#2a7d2a", "waiting": "#8a6d00", "bad": "#b3261e"}
CELL = '<tr><td style="text-align: left;" colspan="2">'


def components(observed: Observed, since: Callable[[datetime | None], str] = ages.clock) -> str:
    """Write the components as rows of a table.

    By default they tell the time since when they are in their state: an age changes every second, and with
    each change Dask's widget folds what a person has unfolded.
    """
    return "\n".join(_component(row, since(row.since)) for row in display.rows(observed))


def _component(row: display.Row, since: str) -> str:
    message = f" – {escape(row.state.message)}" if row.state.message else ""
    time = f' <small style="color: #757575;">{since}</small>' if since else ""
    word = f'<span style="color: {COLORS[row.state.level]};">{escape(row.state.word)}</span>'
    return f"{CELL}<strong>{escape(row.component)}:</strong> {word}{message}{time}</td></tr>"


def pods_table(observed: Observed) -> str:
    """Write the pods as a row that can be unfolded."""
    found = [*([observed.scheduler] if observed.scheduler else []), *observed.workers]
    table = f"<table>{''.join(map(_pod, found))}</table>"
    summary = f"<summary><strong>Pods ({len(found)})</strong></summary>"
    return f"{CELL}<details>{summary}{table}</details></td></tr>"


def _pod(pod: Json) -> str:
    state = pods.state(pod)
    return (
        f'<tr><td style="text-align: left;">{escape(pod["metadata"]["name"])}</td>'
        f'<td style="text-align: left; color: {COLORS[state.level]};">{escape(state.word)}</td>'
        f'<td style="text-align: left;">{ages.clock(display.pods_since(pod))}</td></tr>'
    )


def note(text: str) -> str:
    """Write a sentence as a row of a table."""
    return f"{CELL}{escape(text)}</td></tr>"


def progress(title: str, observed: Observed, message: str) -> str:
    """Write the state of a cluster that starts."""
    notes = "".join(
        f'<p style="margin: 0; color: {COLORS["bad"]};">{escape(text)}</p>'
        for text in display.warnings(observed)[-3:]
    )
    return (
        '<div class="jp-RenderedHTMLCommon jp-RenderedHTML" style="max-width: 50em;">'
        f'<h4 style="margin: 0 0 6px;">{escape(title)}</h4>'
        f'<table style="width: 100%; text-align: left;">{components(observed, ages.age)}</table>'
        f'{notes}<p style="margin: 6px 0 0;"><em>{escape(message)}</em></p></div>'
    )
