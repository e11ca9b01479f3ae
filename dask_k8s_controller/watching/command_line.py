"""The command line of the controller: kopf's flags.

It watches all namespaces unless ``--namespace`` names some. ``--liveness=http://HOST:PORT/healthz`` says
where ``/healthz`` is served.
"""

from __future__ import annotations

import copy
import os
import socket
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import dask.config
import kopf
import kopf.cli

PROGRAM = "python -m dask_k8s_controller"

OLD_VARIABLE = "KOPF_RUN_NAMESPACE"
"""kopf itself reads this one beside ``KOPF_RUN_NAMESPACES``."""


def run(arguments: Sequence[str] | None = None) -> None:
    """Run the handlers that are registered until the process is told to stop.

    The arguments are flags of ``kopf run``, which come from variables that begin with ``KOPF_RUN_``, too.
    """
    command = copy.copy(kopf.cli.run)
    command.callback = partial(_run, command.callback)
    flags = sys.argv[1:] if arguments is None else arguments
    try:
        command.main(
            ["--module", "dask_k8s_controller", *flags], prog_name=PROGRAM, auto_envvar_prefix="KOPF_RUN"
        )
    except Exception as error:
        if isinstance(error.__cause__, kopf.PermanentError):
            sys.exit(f"{PROGRAM}: {error.__cause__}")  # It has said all that a person needs.
        raise


def _run(run_kopf: Any, liveness_endpoint: str | None, **flags: Any) -> None:
    """Run kopf, but serve liveness ourselves: kopf doesn't know whether we are stuck."""
    if liveness_endpoint:
        url = urlsplit(liveness_endpoint)
        dask.config.set(
            {
                "kubernetes.controller.health-port": url.port or 80,
                "kubernetes.controller.health-host": url.hostname or "",
            }
        )
    # kopf calls itself after its user else, and that of a container may have no name.
    os.environ.setdefault("POD_ID", socket.gethostname())
    is_chosen = flags["namespaces"] or os.environ.get(OLD_VARIABLE)
    run_kopf(**{**flags, "liveness_endpoint": None, "clusterwide": flags["clusterwide"] or not is_chosen})
