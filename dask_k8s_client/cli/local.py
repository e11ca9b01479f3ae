"""``dask kubernetes local``: a Kubernetes on this machine, with Dask's operator, for trying things out."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

import click

EXAMPLE = """\
Type this in another terminal, start {python} there, and paste:
  from dask_k8s_client import KubeCluster
  cluster = KubeCluster(n_workers=2)
  print(cluster.get_client().submit(sum, [10, 1]).result(), cluster.dashboard_link)
It prints 11 and the link to Dask's dashboard, which works until Python ends or cluster.close().
While Python runs, `{dask} kubernetes ls` in a third terminal shows the cluster, after the same export.
kubectl and other tools use it in the same way. Whatever runs in it ends with it.
"""


def example() -> str:
    """Return what to type, which is to reach this environment whether it is activated there or not."""
    folder = Path(sys.executable).parent
    known = shutil.which("dask")
    is_activated = known is not None and Path(known).parent == folder
    names = {name: name if is_activated else str(folder / name) for name in ("python", "dask")}
    return EXAMPLE.format(**names)


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
    command = [sys.executable, "-m", "dask_k8s_local", *arguments]
    click.echo("Starting a Kubernetes …")
    context.exit(run_until_stopped(command, "export KUBECONFIG=", "" if bare else example()))


def run_until_stopped(command: list[str], sign: str, addition: str) -> int:
    """Run a command; hand on SIGTERM, and on Ctrl-C wait until it has cleaned up.

    Parameters
    ----------
    command : list of str
        The command.
    sign, addition : str
        After the line of its output that has the sign in it, the addition is printed.

    Returns
    -------
    int
        The command's exit code.
    """
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def hand_on(number: int, _: FrameType | None) -> None:
        process.send_signal(number)

    # The terminal sends Ctrl-C to the child as well; we only have to outlive it.
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN),
        signal.SIGTERM: signal.signal(signal.SIGTERM, hand_on),
    }
    try:
        assert process.stdout is not None
        for line in process.stdout:
            click.echo(line, nl=False)
            if sign in line:
                click.echo(addition, nl=False)
        return process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
