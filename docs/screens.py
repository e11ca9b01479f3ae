"""Take the pictures of the documentation: ``python docs/screens.py``.

It takes Chromium or Chrome, and ``pip install jupyterlab ipywidgets``. The clusters in the pictures run on
the local Kubernetes, and the notebook in a JupyterLab with a kernel of this interpreter.
"""

from __future__ import annotations

import asyncio
import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from chromium import Page, browser, element
from live_notebook import cell, notebook, run_all
from rich.console import Console, RenderableType
from rich.terminal_theme import MONOKAI

from dask_k8s_client import KubeCluster
from dask_k8s_client.display import rows
from dask_k8s_client.observe import Observed
from dask_k8s_client.views import Terminal
from dask_k8s_local import LocalKubernetes

IMAGES = Path(__file__).parent / "images"
WIDTH = 90
"""Columns of the terminal."""


async def take_terminal(page: Page, name: str, *pictures: RenderableType) -> None:
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    for picture in pictures:
        console.print(picture)
    svg = console.export_svg(title="", theme=MONOKAI).replace("<svg ", "<svg width=820 ", 1)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "page.html"
        source.write_text(
            f'<!doctype html><meta charset="utf-8"><body style="margin: 0">{svg}', encoding="utf-8"
        )
        await page.open(source.as_uri())
        await page.until("document.readyState == 'complete' && !!document.querySelector('svg')")
        await page.take(IMAGES / f"{name}.png", "svg")


async def see(cluster: KubeCluster, is_there: Callable[[Observed], bool]) -> Observed:
    """Wait for a moment that is worth a picture."""
    while cluster._session._observer is None:  # noqa: ASYNC110
        await asyncio.sleep(0)
    return await cluster._session.observer.until(is_there, timeout=60)


def has_trouble(observed: Observed) -> bool:
    return any(row.state.level == "bad" for row in rows(observed))


async def start(cluster: KubeCluster) -> None:
    await cluster


async def a_start(page: Page) -> None:
    cluster = KubeCluster(name="analysis", n_workers=2, asynchronous=True, quiet=True)
    starting = asyncio.create_task(start(cluster))
    seen = await see(
        cluster, lambda now: now.scheduler is not None and now.service is not None and bool(now.groups)
    )
    view = Terminal("KubeCluster analysis", Console(width=WIDTH))
    view.log("Waiting for scheduler pod")
    await take_terminal(page, "terminal-start", view.picture(seen, is_over=False))
    await starting
    await cluster.wait_for_workers(2, timeout=60)
    await cluster.add_worker_group("highmem", n_workers=1, resources={"requests": {"memory": "64Ti"}})
    await see(cluster, has_trouble)
    await take_terminal(page, "terminal-running", await cluster.generate_rich_output())
    await cluster.close()


async def a_failure(page: Page) -> None:
    cluster = KubeCluster(
        name="training",
        image="registry.invalid/team/dask:latest",
        resource_timeout=4,
        asynchronous=True,
        quiet=True,
    )
    starting = asyncio.create_task(start(cluster))
    seen = await see(cluster, has_trouble)
    view = Terminal("KubeCluster training", Console(width=WIDTH))
    view.log("Waiting for scheduler pod")
    picture = view.picture(seen, is_over=False)
    [error] = await asyncio.gather(starting, return_exceptions=True)
    await take_terminal(page, "terminal-failure", picture, f"[red]{type(error).__name__}:[/] {error}")


CELLS = (
    """from dask_k8s_client import KubeCluster

cluster = KubeCluster(name="analysis", n_workers=2)""",
    """cluster.wait_for_workers(2)
cluster.add_worker_group("highmem", n_workers=1, resources={"requests": {"memory": "64Ti"}})""",
    "cluster",
    "client = cluster.get_client()",
)


async def a_notebook(page: Page) -> None:
    async with notebook(page, *CELLS):
        await run_all(page)
        first, third = element(cell(0)), element(cell(2))
        await page.until(f"{first}.innerText.includes('Starting')")
        await page.take(IMAGES / "notebook-start.png", cell(0), trim=2)
        await page.until(f"{third}.innerText.includes('Unschedulable')")
        await page.evaluate(f"void {third}.querySelector('details').setAttribute('open', '')")
        # Dask's widget writes its text anew each half a second; what is unfolded has to stay so.
        await asyncio.sleep(3)
        assert await page.evaluate(f"{third}.querySelector('details').open")
        await page.take(IMAGES / "notebook-running.png", cell(2), trim=2)


async def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    os.environ["COLUMNS"] = str(WIDTH)
    with LocalKubernetes():
        async with browser(1000, 1400) as page:
            await a_start(page)
            await a_failure(page)
            await a_notebook(page)


if __name__ == "__main__":
    asyncio.run(main())
