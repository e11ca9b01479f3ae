"""``python -m dask_k8s_local``: a local Kubernetes in the foreground."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from pathlib import Path

try:
    from . import LocalKubernetes
except ImportError as error:
    sys.exit(f"error: {error}")
from .cluster import UnsupportedPlatform
from .kubeconfig import KubeconfigInUse


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m dask_k8s_local", description=__doc__)
    parser.add_argument(
        "--kubeconfig", type=Path, required=True, help="the kubeconfig to write; it's removed at the end"
    )
    parser.add_argument(
        "--port", type=int, default=0, help="port of the API server on 127.0.0.1 (a free one)"
    )
    parser.add_argument(
        "--crd",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="manifests to apply at the start (repeatable)",
    )
    parser.add_argument("--addons", action="store_true", help="install and run what installed packages offer")
    options = parser.parse_args(arguments)

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    try:
        with LocalKubernetes(
            kubeconfig=options.kubeconfig,
            port=options.port,
            crds=options.crd,
            addons=None if options.addons else (),
        ) as kubernetes:
            print(f"Kubernetes is up at {kubernetes.url} until Ctrl-C. To use it:", flush=True)
            print(f"  export KUBECONFIG={kubernetes.kubeconfig}", flush=True)
            stopped.wait()
            print("stopping", flush=True)
    except (ImportError, KubeconfigInUse, OSError, UnsupportedPlatform) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
