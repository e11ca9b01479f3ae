"""``dask kubernetes migrate``: takes over live clusters that dask-kubernetes' operator runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dask_k8s_client.cli.common import cluster_names, connection_options, run

if TYPE_CHECKING:
    from dask_k8s_client.api import Api


@click.command(short_help="Take over live clusters of another operator.")
@click.argument("clusters", nargs=-1, metavar="[CLUSTER]...", shell_complete=cluster_names)
@click.option("-A", "--all-namespaces", is_flag=True, help="Take over the clusters of all namespaces.")
@click.option("--dry-run", is_flag=True, help="Tell what would be done, and change nothing.")
@connection_options
def migrate(
    clusters: tuple[str, ...],
    all_namespaces: bool,
    dry_run: bool,
    namespace: str | None,
    kubeconfig: str | None,
    context: str | None,
) -> None:
    """Take over clusters that dask-kubernetes' operator runs as Deployments, all of a namespace by default.

    Their pods go on running: no result is lost. Stop the other operator before, and replace its custom
    resource definitions by ours (`dask kubernetes crds`). What was interrupted can be repeated. A cluster
    that can't be taken over doesn't keep the others from it.
    """
    from dask_k8s_client.errors import ApiError, KubeClusterError, with_remedy
    from dask_k8s_client.migration import Migration, clusters_of_others

    if clusters and all_namespaces:
        raise click.UsageError("name clusters of one namespace (-n), or take over all of -A.")

    async def take_over(api: Api) -> None:
        where = namespace or api.namespace
        migration = Migration(api, where, dry_run=dry_run, kubeconfig=kubeconfig, context=context)
        await migration.check()
        found = [(where, name) for name in clusters]
        found = found or await clusters_of_others(api, None if all_namespaces else where)
        if not found:
            here = "in any namespace" if all_namespaces else f"in the namespace {where}"
            click.echo(f"No cluster {here} is run by another operator.", err=True)
        failed = 0
        for place, name in found:
            migration = Migration(api, place, dry_run=dry_run, kubeconfig=kubeconfig, context=context)
            click.echo(f"{place}/{name}:")
            try:
                async for step in migration.take_over(name):
                    click.echo(f"  {step}")
            except (KubeClusterError, OSError, TimeoutError) as error:
                failed += 1
                told = with_remedy(error) if isinstance(error, ApiError) else error
                click.echo(f"Error: {place}/{name}: {str(told) or type(told).__name__}", err=True)
        if failed:
            raise click.ClickException(
                f"{failed} of {len(found)} clusters aren't taken over: mend what is said above, "
                "and call this again."
            )

    run(take_over, kubeconfig, context)
