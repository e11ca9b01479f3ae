"""What several commands share: options, the connection, errors, tables."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from dask_k8s_client.api import Api

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

Json = dict[str, Any]

COMPLETION_LIMIT = 5.0
"""Seconds that the completion of a word waits for Kubernetes."""


def connection_options(command: F) -> F:
    """Add the options that say which Kubernetes and which namespace."""
    for option in (
        click.option("--context", help="Context of the kubeconfig; its current one by default."),
        click.option(
            "--kubeconfig", type=click.Path(dir_okay=False), help="Instead of KUBECONFIG or ~/.kube/config."
        ),
        click.option("-n", "--namespace", help="The context's namespace by default."),
    ):
        command = option(command)
    return command


def cluster_names(
    context: click.Context, parameter: click.Parameter, typed: str
) -> list[CompletionItem[str]]:
    """Return the clusters that a word may become, with their status: none if Kubernetes doesn't say."""
    import asyncio

    from click.shell_completion import CompletionItem

    from dask_k8s_client import raw
    from dask_k8s_client.api import Api
    from dask_k8s_client.errors import KubeClusterError
    from dask_k8s_client.resources import CLUSTERS

    given = context.params

    async def listed() -> list[Json]:
        async with (
            asyncio.timeout(COMPLETION_LIMIT),
            Api(given.get("kubeconfig"), given.get("context")) as api,
        ):
            found = await raw.get(api, CLUSTERS.path(given.get("namespace") or api.namespace))
            clusters: list[Json] = found["items"]
            return clusters

    try:
        clusters = asyncio.run(listed())
    except (KubeClusterError, OSError, TimeoutError):
        return []  # Who completes a word can't be told an error: the command itself will tell it.
    names = {
        cluster["metadata"]["name"]: (cluster.get("status") or {}).get("phase") or "Waiting"
        for cluster in clusters
    }
    already = given.get(parameter.name or "") or ()
    return [
        CompletionItem(name, help=status)
        for name, status in sorted(names.items())
        if name.startswith(typed) and name not in already
    ]


def output_option(*formats: str) -> Callable[[F], F]:
    """Add the option that chooses the form of the output."""
    return click.option("-o", "--output", type=click.Choice(formats), help="Form of the output.")


def run(work: Callable[[Api], Awaitable[T]], kubeconfig: str | None, context: str | None) -> T:
    """Do something with a connection; an error becomes a message and exit code 1."""
    import asyncio

    from dask_k8s_client.api import Api
    from dask_k8s_client.errors import ForbiddenError, KubeClusterError, with_remedy

    async def connected() -> T:
        async with Api(kubeconfig, context) as api:
            return await work(api)

    try:
        return asyncio.run(connected())
    except ForbiddenError as error:
        raise click.ClickException(str(with_remedy(error))) from error
    except (KubeClusterError, OSError, TimeoutError) as error:
        raise click.ClickException(str(error) or type(error).__name__) from error
    except KeyboardInterrupt:
        raise click.exceptions.Exit(130) from None


def show(content: Any, form: str) -> None:
    """Print an object as JSON or YAML."""
    if form == "json":
        click.echo(json.dumps(content, indent=2))
        return
    from dask_k8s_models.yaml_dialect import to_yaml

    click.echo(to_yaml(content), nl=False)


def show_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns as kubectl does."""
    widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        click.echo("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
