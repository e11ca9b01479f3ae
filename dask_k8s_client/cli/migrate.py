"""``dask kubernetes migrate``: takes over live clusters that dask-kubernetes' operator runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dask_k8s_client.cli.common import connection_options, run

if TYPE_CHECKING:
    from dask_k8s_client.api import Api


@click.command(short_help="Take over live clusters of another operator.")
@click.argument("clusters", nargs=-1, metavar="[CLUSTER]...")
@click.option("--dry-run", is_flag=True, help="Tell what would be done, and change nothing.")
@connection_options
def migrate(
    clusters: tuple[str, ...],
    dry_run: bool,
    namespace: str | None,
    kubeconfig: str | None,
    context: str | None,
) -> None:
    """Take over clusters that dask-kubernetes' operator runs as Deployments, all of a namespace by default.

    Their pods go on running: no result is lost. Stop the other operator before, and replace its custom
    resource definitions by ours (`dask kubernetes crds`). What was interrupted can be repeated.
    """
    from dask_k8s_client.migration import Migration

    async def take_over(api: Api) -> int:
        where = namespace or api.namespace
        migration = Migration(api, where, dry_run=dry_run, kubeconfig=kubeconfig, context=context)
        await migration.check()
        names = clusters or await migration.clusters()
        for name in names:
            click.echo(f"{name}:")
            async for step in migration.take_over(name):
                click.echo(f"  {step}")
        return len(names)

    count = run(take_over, kubeconfig, context)
    if not count:
        click.echo("No cluster here is run by another operator.", err=True)
