"""Take the pictures of the documentation: ``python docs/screens.py``, with Chromium or Chrome installed.

The clusters in them run on the local Kubernetes.
"""

from __future__ import annotations

import asyncio
import io
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.console import Console, RenderableType
from rich.terminal_theme import MONOKAI

from dask_k8s_client import KubeCluster
from dask_k8s_client.display import progress_html, rows
from dask_k8s_client.observe import Observed
from dask_k8s_client.views import Terminal
from dask_k8s_local import LocalKubernetes

IMAGES = Path(__file__).parent / "images"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDTH = 90
"""Columns of the terminal."""
PAGE = """<!doctype html><html><head><meta charset="utf-8"><style>
body {{ margin: 0; padding: 16px; width: 780px; background: white; color: #212121;
       font: 13px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }}
table {{ border-collapse: collapse; font-size: 12px; }} td, th {{ padding: 4px 8px; }}
details {{ margin: 4px 0; }} pre {{ font-size: 11px; }}
</style></head><body>{body}</body></html>"""


def browser() -> str:
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    sys.exit(f"None of {', '.join(BROWSERS)} is installed.")


def take(name: str, page: str, width: int, height: int) -> None:
    """Have a page drawn by a browser."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "page.html"
        source.write_text(page, encoding="utf-8")
        command = [browser(), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += [f"--user-data-dir={folder}/profile", f"--window-size={width},{height}"]
        subprocess.run(
            [*command, f"--screenshot={IMAGES / name}.png", source.as_uri()], check=True, capture_output=True
        )
    print(IMAGES / f"{name}.png")


def take_terminal(name: str, *pictures: RenderableType) -> None:
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    for picture in pictures:
        console.print(picture)
    svg = console.export_svg(title="", theme=MONOKAI)
    found = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert found is not None
    ratio = float(found[2]) / float(found[1])
    body = f'<body style="margin: 0">{svg.replace("<svg ", "<svg width=820 ", 1)}</body>'
    take(name, body, 820, round(820 * ratio))


def take_notebook(name: str, body: str, height: int) -> None:
    take(name, PAGE.format(body=body), 812, height)


async def see(cluster: KubeCluster, is_there: Callable[[Observed], bool]) -> Observed:
    """Wait for a moment that is worth a picture."""
    while cluster._session._observer is None:  # noqa: ASYNC110
        await asyncio.sleep(0)
    return await cluster._session.observer.until(is_there, timeout=60)


def has_trouble(observed: Observed) -> bool:
    return any(row.state.level == "bad" for row in rows(observed))


async def start(cluster: KubeCluster) -> None:
    await cluster


async def a_start() -> None:
    cluster = KubeCluster(name="analysis", n_workers=2, asynchronous=True, quiet=True)
    starting = asyncio.create_task(start(cluster))
    seen = await see(
        cluster, lambda now: now.scheduler is not None and now.service is not None and bool(now.groups)
    )
    view = Terminal("KubeCluster analysis", Console(width=WIDTH))
    view.say("Waiting for scheduler pod")
    take_terminal("terminal-start", view.picture(seen))
    take_notebook(
        "notebook-start", progress_html("KubeCluster analysis", seen, "Waiting for scheduler pod"), 190
    )
    await starting
    await cluster.wait_for_workers(2, timeout=60)
    await cluster.add_worker_group("highmem", n_workers=1, resources={"requests": {"memory": "64Ti"}})
    await see(cluster, has_trouble)
    take_terminal("terminal-running", await cluster.generate_rich_output())
    unfolded = cluster._repr_html_().replace(
        "<details><summary><strong>Pods", "<details open><summary><strong>Pods"
    )
    take_notebook("notebook-running", unfolded, 450)
    await cluster.close()


async def a_failure() -> None:
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
    view.say("Waiting for scheduler pod")
    picture = view.picture(seen)
    [error] = await asyncio.gather(starting, return_exceptions=True)
    take_terminal("terminal-failure", picture, f"[red]{type(error).__name__}:[/] {error}")


async def main() -> None:
    with LocalKubernetes():
        await a_start()
        await a_failure()


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    asyncio.run(main())
