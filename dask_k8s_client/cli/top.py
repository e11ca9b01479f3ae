"""``dask kubernetes top``: what the workers of a cluster do, as a table that follows them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from dask_k8s_client.cli.common import cluster_names, connection_options, output_option, show, show_table

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

HEAD = ("WORKER", "TASKS", "READY", "CPU", "MEMORY", "LIMIT", "SPILLED")


@dataclass(frozen=True)
class Usage:
    """What a worker does and uses, as it told the scheduler last.

    Parameters
    ----------
    name : str
        The worker's name: that of its pod.
    tasks, ready : int
        Tasks that it runs, and that wait on it.
    cpu : float
        Per cent of one processor.
    memory, limit, spilled : int
        Bytes in use, allowed (0 is no limit), and written to disk.
    """

    name: str
    tasks: int
    ready: int
    cpu: float
    memory: int
    limit: int
    spilled: int

    @classmethod
    def of(cls, worker: Mapping[str, Any]) -> Usage:
        """Read a worker of a scheduler's ``identity``."""
        metrics = worker.get("metrics") or {}
        counts = metrics.get("task_counts") or {}
        return cls(
            name=str(worker.get("name") or worker.get("id")),
            tasks=counts.get("executing", metrics.get("executing", 0)) + counts.get("long-running", 0),
            ready=counts.get("ready", metrics.get("ready", 0)),
            cpu=float(metrics.get("cpu") or 0),
            memory=int(metrics.get("memory") or 0),
            limit=int(worker.get("memory_limit") or 0),
            spilled=int((metrics.get("spilled_bytes") or {}).get("disk") or 0),
        )

    def cells(self) -> list[str]:
        """Return the columns of `HEAD`."""
        from dask.utils import format_bytes

        return [
            self.name,
            str(self.tasks),
            str(self.ready),
            f"{self.cpu:.0f}%",
            format_bytes(self.memory),
            format_bytes(self.limit) if self.limit else "-",
            format_bytes(self.spilled),
        ]


@click.command(short_help="What the workers of a cluster do.")
@click.argument("cluster", shell_complete=cluster_names)
@click.option("--once", is_flag=True, help="Print it once and end.")
@click.option("--interval", type=click.FloatRange(min=0.1), default=1.0, help="Seconds between two looks.")
@output_option("json", "yaml")
@connection_options
def top(
    cluster: str,
    once: bool,
    interval: float,
    output: str | None,
    namespace: str | None,
    kubeconfig: str | None,
    context: str | None,
) -> None:
    """Show tasks, CPU, memory and spilled bytes of the workers of a CLUSTER, busiest first, until Ctrl-C."""
    import asyncio
    from contextlib import aclosing

    from dask_k8s_client.errors import KubeClusterError

    if output and not once:
        raise click.UsageError("-o prints once: add --once")
    options = {"namespace": namespace, "kubeconfig": kubeconfig, "context": context}

    async def follow() -> None:
        async with aclosing(_usages(cluster, options, interval)) as looks:
            async for usages in looks:
                if output:
                    show([asdict(usage) for usage in usages], output)
                elif once or not _is_terminal():
                    show_table(HEAD, [usage.cells() for usage in usages])
                else:
                    _draw(cluster, usages)
                if once:
                    return

    try:
        asyncio.run(follow())
    except (KubeClusterError, OSError, TimeoutError) as error:
        raise click.ClickException(str(error) or type(error).__name__) from error
    except KeyboardInterrupt:
        raise click.exceptions.Exit(130) from None


async def _usages(
    cluster: str, options: dict[str, Any], interval: float
) -> AsyncGenerator[list[Usage], None]:
    import asyncio
    import warnings

    from distributed import Client
    from distributed.versions import VersionMismatchWarning

    from dask_k8s_client.cluster import KubeCluster

    # Nothing is computed here, so versions may differ.
    warnings.simplefilter("ignore", VersionMismatchWarning)
    async with (
        await KubeCluster.from_name(cluster, asynchronous=True, quiet=True, **options) as found,
        Client(found, asynchronous=True, set_as_default=False) as client,  # type: ignore[no-untyped-call]
    ):
        while True:
            workers = (await client.scheduler.identity())["workers"]
            usages = [Usage.of(worker) for worker in workers.values()]
            yield sorted(usages, key=lambda usage: (-usage.tasks, -usage.cpu, usage.name))
            await asyncio.sleep(interval)


def _is_terminal() -> bool:
    import sys

    return sys.stdout.isatty()


def _draw(cluster: str, usages: list[Usage]) -> None:
    """Draw the table over the one before, by rich if it is there."""
    click.clear()
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        show_table(HEAD, [usage.cells() for usage in usages])
        return
    table = Table(title=f"{cluster}: {len(usages)} workers", title_justify="left")
    for column in HEAD:
        table.add_column(column, justify="left" if column == "WORKER" else "right")
    for usage in usages:
        busy = "green" if usage.tasks else None
        full = "red" if usage.limit and usage.memory > 0.8 * usage.limit else busy
        table.add_row(*usage.cells(), style=full)
    Console().print(table)
