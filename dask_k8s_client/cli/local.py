"""``dask kubernetes local``: a Kubernetes on this machine, with Dask's operator, for trying things out."""

from __future__ import annotations

import signal
import subprocess
import sys
from types import FrameType

import click

USAGE = """\
In another terminal:

    export KUBECONFIG={kubeconfig}
    python -c 'from dask_k8s_client import KubeCluster; print(KubeCluster(n_workers=2))'

kubectl, Helm and other tools use it in the same way. Ctrl-C here ends it and all that runs in it.
"""


@click.group()
def local() -> None:
    """Run a small Kubernetes on this machine, without containers."""


@local.command()
@click.option(
    "--kubeconfig", required=True, type=click.Path(dir_okay=False, resolve_path=True), help="File to write."
)
@click.option("--port", type=int, default=0, help="Port of the API server; any that is free by default.")
@click.option("--bare", is_flag=True, help="Without Dask's resource definitions and operator.")
@click.pass_context
def up(context: click.Context, kubeconfig: str, port: int, bare: bool) -> None:
    """Start it in the foreground, until Ctrl-C.

    Pods are processes of this machine. Nothing is left behind at the end.
    """
    arguments = [
        "--kubeconfig",
        kubeconfig,
        *(["--port", str(port)] if port else []),
        *([] if bare else ["--addons"]),
    ]
    click.echo(USAGE.format(kubeconfig=kubeconfig))
    context.exit(run_until_stopped([sys.executable, "-m", "dask_k8s_local", *arguments]))


def run_until_stopped(command: list[str]) -> int:
    """Run a command; hand on SIGTERM, and on Ctrl-C wait until it has cleaned up. Return its exit code."""
    process = subprocess.Popen(command)

    def hand_on(number: int, _: FrameType | None) -> None:
        process.send_signal(number)

    # The terminal sends Ctrl-C to the child as well; we only have to outlive it.
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN),
        signal.SIGTERM: signal.signal(signal.SIGTERM, hand_on),
    }
    try:
        return process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
