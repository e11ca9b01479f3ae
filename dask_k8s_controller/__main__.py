"""``python -m dask_k8s_controller``: runs the controller, with kopf's command-line flags.

It watches all namespaces unless ``--namespace`` names some. ``--liveness=http://HOST:PORT/healthz`` says
where ``/healthz`` is served.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from urllib.parse import urlsplit

import click
import dask.config

import dask_k8s_controller

try:
    import kopf.cli

    import dask_k8s_controller.operator
except ModuleNotFoundError as error:
    sys.exit(f"error: the controller needs {error.name}: run pip install 'dask-k8s[controller]'")

PROGRAM = "python -m dask_k8s_controller"
VARIABLES = "KOPF_RUN"
"""Flags may come from environment variables that begin so, as kopf's do."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the controller until it is told to stop.

    Parameters
    ----------
    arguments : sequence of str, optional
        Flags of ``kopf run``; those of the command line by default.
    """
    flags = list(sys.argv[1:] if arguments is None else arguments)
    context = kopf.cli.run.make_context(
        PROGRAM, list(flags), resilient_parsing=True, auto_envvar_prefix=VARIABLES
    )
    chosen = context.params.get("namespaces") or context.params.get("clusterwide")
    if not chosen and not os.environ.get(f"{VARIABLES}_NAMESPACE"):
        flags.append("--all-namespaces")
    flags = _serve_liveness(flags, context)
    dask_k8s_controller.register()
    kopf.cli.run.main(
        ["--module", "dask_k8s_controller", *flags], prog_name=PROGRAM, auto_envvar_prefix=VARIABLES
    )


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
