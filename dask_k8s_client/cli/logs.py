"""``dask kubernetes logs``: the logs of a cluster's scheduler and workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dask_k8s_client.cli.common import cluster_names, connection_options, run

if TYPE_CHECKING:
    from dask_k8s_client.api import Api


@click.command(short_help="Print the logs of scheduler and workers.")
@click.argument("cluster", shell_complete=cluster_names)
@click.argument("pods", nargs=-1)
@click.option("--scheduler", "component", flag_value="scheduler", help="Only the scheduler's.")
@click.option("--workers", "component", flag_value="worker", help="Only the workers'.")
@click.option("-f", "--follow", is_flag=True, help="Go on as lines are written.")
@click.option("--tail", type=click.IntRange(min=0), help="Only the last lines of each.")
@connection_options
def logs(
    cluster: str,
    pods: tuple[str, ...],
    component: str | None,
    follow: bool,
    tail: int | None,
    namespace: str | None,
    kubeconfig: str | None,
    context: str | None,
) -> None:
    """Print the logs of a CLUSTER, or only of some of its PODS.

    Of a pod that crashed the previous log is printed as well; of one that never started, why.
    """
    import asyncio

    from dask_k8s_client.logs import dask_pods, pod_log

    options = {} if tail is None else {"tailLines": str(tail)}

    async def read(api: Api) -> None:
        where = namespace or api.namespace
        chosen = [
            pod
            for pod in await dask_pods(api, where, cluster)
            if (not pods or pod["metadata"]["name"] in pods) and component in (None, _component(pod))
        ]
        if not chosen:
            raise click.ClickException(
                f"There are no such pods of a cluster {cluster} in the namespace {where}; "
                "`dask kubernetes ls` lists the clusters."
            )
        if follow:
            await asyncio.gather(*(_follow(api, where, pod, len(chosen) > 1, options) for pod in chosen))
            return
        for pod in chosen:
            if len(chosen) > 1:
                click.secho(f"==> {pod['metadata']['name']} <==", bold=True)
            click.echo((await pod_log(api, where, pod, **options)).rstrip())

    run(read, kubeconfig, context)


def _component(pod: dict[str, Any]) -> str:
    from dask_k8s_client.pods import component

    return component(pod)


async def _follow(
    api: Api, namespace: str, pod: dict[str, Any], with_name: bool, options: dict[str, str]
) -> None:
    from dask_k8s_client import raw
    from dask_k8s_client.pods import main_container
    from dask_k8s_client.resources import PODS

    name = pod["metadata"]["name"]
    path = PODS.path(namespace, name, "log")
    prefix = f"[{name}] " if with_name else ""
    async for line in raw.lines(api, path, container=main_container(pod), follow="true", **options):
        click.echo(f"{prefix}{line}")
