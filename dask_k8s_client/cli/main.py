"""The group of all commands."""

from __future__ import annotations

import click

from dask_k8s_client.cli.clusters import delete, list_clusters, scale
from dask_k8s_client.cli.completion import completion
from dask_k8s_client.cli.forward import port_forward
from dask_k8s_client.cli.generate import gen
from dask_k8s_client.cli.local import local
from dask_k8s_client.cli.logs import logs
from dask_k8s_client.cli.manifests import crds, validate
from dask_k8s_client.cli.migrate import migrate
from dask_k8s_client.cli.top import top


@click.group(name="kubernetes")
def kubernetes() -> None:
    """Dask clusters on Kubernetes.

    \b
    dask kubernetes local up --kubeconfig kubeconfig.yaml
        starts a Kubernetes on this machine; then, with KUBECONFIG set,
    dask kubernetes gen cluster --name mine | kubectl apply -f -
        creates a cluster, as KubeCluster(name="mine") does in Python, and
    dask kubernetes port-forward mine
        makes it reachable for dask.distributed.Client.
    """


for command in (
    completion,
    crds,
    delete,
    gen,
    list_clusters,
    local,
    logs,
    migrate,
    port_forward,
    scale,
    top,
    validate,
):
    kubernetes.add_command(command)
