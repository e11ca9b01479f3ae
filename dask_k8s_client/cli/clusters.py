"""``dask kubernetes ls|scale|delete``: what kubectl does too, in Dask's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dask_k8s_client.cli.common import cluster_names, connection_options, output_option, run, show, show_table

if TYPE_CHECKING:
    from dask_k8s_client.api import Api

Json = dict[str, Any]


@click.command("ls")
@click.option("-A", "--all-namespaces", is_flag=True, help="Of all namespaces.")
@output_option("wide", "json", "yaml", "name")
@connection_options
def list_clusters(
    all_namespaces: bool,
    output: str | None,
    namespace: str | None,
    kubeconfig: str | None,
    context: str | None,
) -> None:
    """List Dask clusters."""
    from dask_k8s_client import raw
    from dask_k8s_client.resources import CLUSTERS

    async def read(api: Api) -> tuple[Json, str]:
        where = None if all_namespaces else namespace or api.namespace
        return await raw.get(api, CLUSTERS.path(where)), where or "any namespace"

    answer, where = run(read, kubeconfig, context)
    if output in ("json", "yaml"):
        for cluster in answer["items"]:
            cluster["metadata"].pop("managedFields", None)  # As kubectl does: it says nothing to people.
        show(answer, output)
    elif output == "name":
        for cluster in answer["items"]:
            click.echo(f"daskcluster.kubernetes.dask.org/{cluster['metadata']['name']}")
    elif not answer["items"]:
        click.echo(f"No Dask clusters in {where}.", err=True)
    else:
        is_wide = output == "wide"
        head = ["NAME", "STATUS", "WORKERS", "AGE"]
        head = [
            *(["NAMESPACE"] if all_namespaces else []),
            *head,
            *(["SCHEDULER", "DASHBOARD"] if is_wide else []),
        ]
        show_table(head, [_columns(cluster, all_namespaces, is_wide) for cluster in answer["items"]])


def _columns(cluster: Json, with_namespace: bool, is_wide: bool) -> list[str]:
    from dask_k8s_client import ages

    metadata, status = cluster["metadata"], cluster.get("status") or {}
    groups = status.get("workerGroups") or []
    ready = sum(group.get("readyReplicas") or 0 for group in groups)
    wanted = sum(group.get("replicas") or 0 for group in groups)
    columns = [
        metadata["name"],
        "Terminating" if metadata.get("deletionTimestamp") else status.get("phase") or "Waiting",
        f"{ready}/{wanted}",
        ages.age(ages.parse(metadata["creationTimestamp"])),
    ]
    if with_namespace:
        columns.insert(0, metadata["namespace"])
    if is_wide:
        columns += [status.get("schedulerAddress") or "-", status.get("dashboardAddress") or "-"]
    return columns


@click.command(short_help="Set the number of workers of a cluster.")
@click.argument("cluster", shell_complete=cluster_names)
@click.argument("workers", type=click.IntRange(min=0))
@click.option("-g", "--group", default="default", show_default=True, help="The worker group to scale.")
@connection_options
def scale(
    cluster: str,
    workers: int,
    group: str,
    namespace: str | None,
    kubeconfig: str | None,
    context: str | None,
) -> None:
    """Set the number of WORKERS of a CLUSTER, and end its autoscaling."""
    from dask_k8s_client.groups import Groups

    async def patch(api: Api) -> None:
        await Groups(api, namespace or api.namespace, cluster).scale(workers, group)

    run(patch, kubeconfig, context)
    click.echo(f"daskworkergroup {cluster}-{group} scaled to {workers}")


@click.command(short_help="Delete clusters with all that is theirs.")
@click.argument("clusters", nargs=-1, required=True, shell_complete=cluster_names)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until they are gone.")
@click.option("--timeout", default=300.0, show_default=True, help="Seconds to wait.")
@connection_options
def delete(
    clusters: tuple[str, ...],
    wait: bool,
    timeout: float,
    namespace: str | None,
    kubeconfig: str | None,
    context: str | None,
) -> None:
    """Delete CLUSTERS, with all that belongs to them."""
    import asyncio

    from dask_k8s_client import raw
    from dask_k8s_client.create import until_deleted
    from dask_k8s_client.errors import NotFoundError
    from dask_k8s_client.resources import CLUSTERS

    async def remove(api: Api, name: str) -> None:
        where = namespace or api.namespace
        try:
            cluster = await raw.get(api, CLUSTERS.path(where, name))
            await raw.delete(api, CLUSTERS.path(where, name), uid=cluster["metadata"]["uid"])
        except NotFoundError as error:
            raise click.ClickException(
                f"There is no cluster {name} in the namespace {where}; "
                "`dask kubernetes ls` lists the clusters."
            ) from error
        if wait:
            await until_deleted(api, where, cluster, timeout)
        click.echo(f"daskcluster {name} deleted")

    async def remove_all(api: Api) -> None:
        outcomes = await asyncio.gather(*(remove(api, name) for name in clusters), return_exceptions=True)
        failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        for failure in failures[1:]:
            click.echo(f"Error: {failure}", err=True)
        if failures:
            raise failures[0]

    run(remove_all, kubeconfig, context)
