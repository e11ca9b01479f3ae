"""JupyterLab with a notebook, in a browser."""

# Nothing else goes on in this loop meanwhile.
# ruff: noqa: ASYNC220
from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from chromium import Page

NEEDED = ("jupyterlab", "ipywidgets", "ipykernel")
SETTINGS = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}
"""Of JupyterLab's notifications: no questions at the first start."""
KERNEL = "jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel"


@asynccontextmanager
async def notebook(page: Page, *cells: str) -> AsyncIterator[None]:
    """Open a notebook with these cells in a page; none has run yet."""
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        sys.exit(f"pip install {' '.join(missing)}")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        settings = home / "settings" / "@jupyterlab" / "apputils-extension"
        settings.mkdir(parents=True)
        (settings / "notification.jupyterlab-settings").write_text(json.dumps(SETTINGS))
        (home / "analysis.ipynb").write_text(json.dumps(document(cells)))
        port = free_port()
        process = subprocess.Popen(command(port, home), env=environment(home), stderr=subprocess.DEVNULL)
        try:
            await until_it_listens(port)
            await page.open(f"http://127.0.0.1:{port}/doc/tree/analysis.ipynb")
            await page.until("!!window.jupyterapp && !!document.querySelector('.jp-CodeCell')")
            await page.until(f"{KERNEL}?.connectionStatus == 'connected' && {KERNEL}.status == 'idle'")
            yield
        finally:
            process.terminate()
            process.wait()


async def run_all(page: Page) -> None:
    """Begin to run all cells."""
    await page.evaluate("void jupyterapp.commands.execute('notebook:run-all-cells')")


def cell(number: int) -> str:
    """Return the selector of a cell."""
    return f'.jp-Cell[data-windowed-list-index="{number}"]'


def command(port: int, home: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}"),
        *("--ServerApp.port_retries=0", f"--ServerApp.root_dir={home}", "--IdentityProvider.token="),
        "--LabApp.expose_app_in_browser=True",
    ]


def environment(home: Path) -> dict[str, str]:
    """Nothing of the user's own Jupyter shows in the pictures."""
    folders = {
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
    }
    return {**os.environ, **{name: str(home / folder) for name, folder in folders.items()}}


def document(cells: tuple[str, ...]) -> dict[str, Any]:
    return {
        "cells": [
            {
                "cell_type": "code",
                "id": f"cell-{number}",
                "execution_count": None,
                "metadata": {},
                "outputs": [],
                "source": source,
            }
            for number, source in enumerate(cells)
        ],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


async def until_it_listens(port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.1)
