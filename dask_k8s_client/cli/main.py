"""The group of all commands."""

from __future__ import annotations

import click

from dask_k8s_client.cli.local import local


@click.group(name="kubernetes")
def kubernetes() -> None:
    """Dask clusters on Kubernetes."""


for command in (local,):
    kubernetes.add_command(command)
