"""``python -m dask_k8s_controller``: runs the controller, with kopf's command-line flags.

It watches all namespaces unless ``--namespace`` names some. ``--liveness=http://HOST:PORT/healthz`` says
where ``/healthz`` is served.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from urllib.parse import urlsplit

import click
import dask.config
import kopf.cli


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the controller until it is told to stop.

    Parameters
    ----------
    arguments : sequence of str, optional
        Flags of ``kopf run``; those of the command line by default.
    """
    flags = list(sys.argv[1:] if arguments is None else arguments)
    context = kopf.cli.run.make_context("dask_k8s_controller", list(flags), resilient_parsing=True)
    if not context.params.get("namespaces") and not context.params.get("clusterwide"):
        flags.append("--all-namespaces")
    flags = _serve_liveness(flags, context)
    kopf.cli.main(["run", "-m", "dask_k8s_controller", *flags], prog_name="python -m dask_k8s_controller")


def _serve_liveness(flags: list[str], context: click.Context) -> list[str]:
    """Have our own server answer where kopf's was asked to, which doesn't know whether we are stuck."""
    endpoint = context.params.get("liveness_endpoint")
    if not endpoint:
        return flags
    url = urlsplit(endpoint)
    dask.config.set(
        {
            "kubernetes.controller.health-port": url.port or 80,
            "kubernetes.controller.health-host": url.hostname or "",
        }
    )
    kept: list[str] = []
    skip = False
    for flag in flags:
        if skip:
            skip = False
        elif flag in ("--liveness", "-L"):
            skip = True
        elif not flag.startswith(("--liveness=", "-L")):
            kept.append(flag)
    return kept


if __name__ == "__main__":
    main()
