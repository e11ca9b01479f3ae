"""The command line of the controller: kopf's flags.

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
import kopf
import kopf.cli

PROGRAM = "python -m dask_k8s_controller"
VARIABLES = "KOPF_RUN"
"""Flags may come from environment variables that begin so, as kopf's do."""


def run(arguments: Sequence[str] | None = None) -> None:
    """Run the handlers that are registered until the process is told to stop.

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
    arguments = ["--module", "dask_k8s_controller", *flags]
    try:
        kopf.cli.run.main(arguments, prog_name=PROGRAM, auto_envvar_prefix=VARIABLES)
    except Exception as error:
        if isinstance(error.__cause__, kopf.PermanentError):
            sys.exit(f"{PROGRAM}: {error.__cause__}")  # It has said all that a person needs.
        raise


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
