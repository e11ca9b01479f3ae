"""How a worker leaves whose pod is evicted, drained or deleted: its results are copied before it ends. Pure.

Kubernetes runs a preStop hook before it asks a container to end, and within the pod's grace period:
https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/. Ours asks the scheduler, which
answers when the worker may end; it needs Python and neither a shell nor the controller. If the scheduler is
gone, so is the connection, and the hook ends at once.
"""

from __future__ import annotations

import re

from dask_k8s_controller.plans.actions import Object
from dask_k8s_models.commands import words_of

GRACE = 120
"""Seconds that a worker has for leaving unless its pod says otherwise: the notice that spot nodes give."""

RESERVE = 5
"""Seconds of them that are left for the end of the process."""

ROUTE = "/dask-k8s/v1/leave"

SCRIPT = """
import json, os, signal, socket, ssl, sys, time
host, port, route, seconds, shares_address, *authority = sys.argv[1:]
signal.alarm(int(seconds))  # Whatever takes so long, a name's look-up included.
end = time.monotonic() + int(seconds) - 1

def secured(connection):
    context = ssl.create_default_context(cafile=authority[0])
    context.check_hostname = False
    return context.wrap_socket(connection)

try:
    with socket.create_connection((host, int(port)), 5) as connection:
        scheduler = secured(connection) if authority else connection
        scheduler.settimeout(None)
        pod = os.environ.get("DASK_WORKER_NAME") or socket.gethostname()
        ip = "" if shares_address == "true" else connection.getsockname()[0]
        body = json.dumps({"pod": pod, "ip": ip, "seconds": end - time.monotonic()})
        head = "POST %s HTTP/1.0\\r\\nHost: %s\\r\\nContent-Length: %d\\r\\n\\r\\n" % (route, host, len(body))
        scheduler.sendall((head + body).encode())
        scheduler.recv(1)
except OSError as error:
    print("the scheduler does not answer:", error)
""".strip()


def with_leaving(
    container: Object, host: str, port: int, grace: int, authority: str = "", *, shares_address: bool = False
) -> Object:
    """Have a container ask its scheduler before it ends; a preStop hook of the user's stays as it is.

    Parameters
    ----------
    container : dict
        The worker's container.
    host, port : str, int
        Where the scheduler serves HTTP.
    grace : int
        The pod's grace period in seconds.
    authority : str
        A file with whoever has signed the scheduler's certificate, if it serves HTTPS.
    shares_address : bool
        Whether other pods have the pod's address, as with ``hostNetwork``: it says nothing of its workers.
    """
    lifecycle = container.get("lifecycle") or {}
    if "preStop" in lifecycle or grace <= RESERVE:
        return container
    command = [interpreter(container), "-c", SCRIPT, host, str(port), ROUTE, str(grace - RESERVE)]
    command += [str(shares_address).lower(), *([authority] if authority else [])]
    return {**container, "lifecycle": {**lifecycle, "preStop": {"exec": {"command": command}}}}


def interpreter(container: Object) -> str:
    """Return the Python that a container's command names, or which is beside its ``dask``; else `python`."""
    for word in words_of(container):
        folder, slash, program = word.rpartition("/")
        if re.fullmatch(r"python[\d.]*", program):
            return word
        if program in ("dask", "dask-worker", "dask-cuda-worker"):
            return f"{folder}{slash}python"
    return "python"
