"""How the start of a cluster is shown: in a terminal, in a notebook, as plain lines, or not at all."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

from dask_k8s_client import ages, display, notebook
from dask_k8s_client.observe import Observed, Observer

FRAME = 0.25
"""Seconds between two pictures of a live view."""


class View(Protocol):
    """Shows what happens while a cluster starts."""

    def log(self, text: str) -> None:
        """Show a step."""

    async def watch(self, observer: Observer) -> None:
        """Show the components until cancelled."""


class Quiet:
    """Shows nothing."""

    def log(self, text: str) -> None:
        """Ignore it."""

    async def watch(self, observer: Observer) -> None:
        """Ignore it."""


class Plain:
    """Writes a line for each step and for each of Kubernetes' warnings."""

    def __init__(self, write: Callable[[str], None] = print) -> None:
        self._write = write

    def log(self, text: str) -> None:
        """Write it."""
        self._write(text)

    async def watch(self, observer: Observer) -> None:
        """Write what is wrong with a component when that changes, and each warning once."""
        written: set[str] = set()
        while True:
            pulse = observer.pulse
            now = observer.now
            troubles = [
                f"{row.component}: {row.state}" for row in display.rows(now) if row.state.level == "bad"
            ]
            for text in [*troubles, *display.warnings(now)]:
                # Pods that replace each other have different names and the same problem.
                problem = text.partition(": ")[2]
                if problem not in written:
                    written.add(problem)
                    self._write(text)
            await pulse.wait()


class Terminal:
    """Draws a table with rich and keeps it up to date.

    Parameters
    ----------
    title : str
        Above the table.
    console : rich.console.Console, optional
        Where to draw.
    """

    def __init__(self, title: str, console: Any = None) -> None:
        from rich.console import Console
        from rich.spinner import Spinner

        self._title = title
        self._console = console or Console()
        self._spinner = Spinner("dots", speed=0.5)

    def log(self, text: str) -> None:
        """Write it beside the spinner."""
        self._spinner.update(text=text)

    async def watch(self, observer: Observer) -> None:
        """Redraw the table until cancelled; leave its last state on the screen."""
        from rich.live import Live

        with Live(
            self.picture(observer.now, is_over=False), console=self._console, auto_refresh=False
        ) as live:
            try:
                while True:
                    await asyncio.sleep(FRAME)
                    live.update(self.picture(observer.now, is_over=False), refresh=True)
            finally:
                live.update(self.picture(observer.now), refresh=True)

    def picture(self, observed: Observed, *, is_over: bool = True) -> Any:
        """Return the table as rich draws it; unless it is over, with the step that is being waited for."""
        from rich import box
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        now = datetime.now(UTC)
        table = Table(box=box.SIMPLE, show_header=False, expand=True, padding=(0, 1))
        table.add_column("Component", no_wrap=True)
        table.add_column("State", ratio=1)
        table.add_column("Since", justify="right", no_wrap=True, style="bright_black")
        for row in display.rows(observed):
            state = Text(row.state.word, style=display.COLORS[row.state.level])
            if row.state.message:
                state.append(f" {row.state.message}", style="default")
            table.add_row(row.component, state, ages.age(row.since, now))
        notes = [Text(text, style="yellow") for text in display.warnings(observed)[-3:]]
        last = () if is_over else (self._spinner,)
        return self._framed(Group(table, *notes, *last))

    def note(self, text: str) -> Any:
        """Return a sentence in the table's place."""
        return self._framed(text)

    def _framed(self, content: Any) -> Any:
        from rich.panel import Panel
        from rich.text import Text

        return Panel(content, title=Text(self._title), width=min(self._console.width, 100))


class Notebook:
    """Keeps an HTML table in a notebook's output up to date.

    Parameters
    ----------
    title : str
        Above the table.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._message = ""

    def log(self, text: str) -> None:
        """Write it below the table."""
        self._message = text

    async def watch(self, observer: Observer) -> None:
        """Redraw the table until cancelled, then remove it: the cluster's own representation follows."""
        ipython: Any = importlib.import_module("IPython.display")
        handle = ipython.display(ipython.HTML(self._html(observer)), display_id=True)
        try:
            while True:
                await asyncio.sleep(FRAME)
                handle.update(ipython.HTML(self._html(observer)))
        finally:
            handle.update(ipython.HTML(""))

    def _html(self, observer: Observer) -> str:
        return notebook.progress(self._title, observer.now, self._message)


def suitable(title: str, *, quiet: bool) -> View:
    """Choose a view for where we are.

    Parameters
    ----------
    title : str
        What is shown.
    quiet : bool
        Whether to show nothing.
    """
    if quiet:
        return Quiet()
    if _is_notebook():
        return Notebook(title)
    if sys.stdout is not None and sys.stdout.isatty():
        try:
            import rich  # noqa: F401
        except ImportError:
            return Plain()
        return Terminal(title)
    return Plain()


def _is_notebook() -> bool:
    """Whether output goes to a Jupyter kernel's front end."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None
