"""What several commands share: options, the connection, errors, tables."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from dask_k8s_client.api import Api

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

Json = dict[str, Any]


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
