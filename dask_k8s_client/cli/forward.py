"""``dask kubernetes port-forward``: reach a cluster from this machine."""

from __future__ import annotations

import click

from dask_k8s_client.cli.common import cluster_names, connection_options


@click.command("port-forward", short_help="Reach scheduler and dashboard from here.")
@click.argument("cluster", shell_complete=cluster_names)
@click.option("--dashboard-port", type=int, help="Local port of the dashboard; any that is free by default.")
@click.option("--port", type=int, help="Local port of the scheduler; any that is free by default.")
@connection_options
def port_forward(
    cluster: str,
    dashboard_port: int | None,
    port: int | None,
    namespace: str | None,
    kubeconfig: str | None,
    context: str | None,
) -> None:
    """Forward local ports to the scheduler and the dashboard of a CLUSTER, until Ctrl-C.

    The ports stay the same when the scheduler is replaced.
    """
    import asyncio

    from dask_k8s_client import encryption
    from dask_k8s_client.config import ClusterOptions, CreateMode
    from dask_k8s_client.errors import ClusterNotFoundError, KubeClusterError
    from dask_k8s_client.groups import runs_jupyter
    from dask_k8s_client.session import Session
    from dask_k8s_client.views import Quiet

    options = ClusterOptions.from_config(
        name=cluster,
        namespace=namespace,
        create_mode=CreateMode.CONNECT_ONLY,
        shutdown_on_close=False,
        port_forward_cluster_ip=True,
        scheduler_forward_port=dashboard_port,
    )

    async def forward() -> None:
        session = Session(options, kubeconfig=kubeconfig, context=context, scheduler_port=port)
        link = await session.open(lambda _: None, Quiet())
        try:
            click.echo(f"Scheduler at: {click.style(link.address, fg='magenta')}")
            if link.dashboard_port is not None:
                dashboard = f"{link.scheme}://{link.host}:{link.dashboard_port}{link.prefix}"
                click.echo(f"Dashboard at: {click.style(f'{dashboard}/status', fg='cyan')}")
                if session.resource is not None and runs_jupyter(session.resource):
                    click.echo(f"Jupyter at:   {click.style(f'{dashboard}/jupyter/lab', fg='yellow')}")
            if encryption.secret_of(session.now.scheduler):
                click.echo("It speaks TLS; in Python, with its certificate:")
                where = f"{cluster!r}, namespace={session.namespace!r}"
                click.echo(f"  client = dask_k8s_client.KubeCluster.from_name({where}).get_client()")
            click.echo("Press Ctrl-C to stop.", err=True)
            await until_stopped()
        finally:
            await session.close(None)

    try:
        asyncio.run(forward())
    except ClusterNotFoundError as error:
        raise click.ClickException(
            f"There is no cluster {cluster}; `dask kubernetes ls` lists the clusters."
        ) from error
    except (KubeClusterError, OSError) as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        raise click.exceptions.Exit(130) from None


async def until_stopped() -> None:
    """Wait for Ctrl-C or SIGTERM."""
    import asyncio
    import signal

    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    await stopped.wait()
