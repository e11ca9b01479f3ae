"""How a worker leaves whose pod is evicted, drained or deleted: its results are moved before it ends. Pure.

Kubernetes runs a preStop hook before it asks a container to end, and within the pod's grace period:
https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/. Ours asks the scheduler, which
answers when the worker may end; it needs Python and neither a shell nor the controller. If the scheduler is
gone, so is the connection, and the hook ends at once.
"""

from __future__ import annotations

from typing import Any

from dask_k8s_controller.plans.actions import Object

GRACE = 120
"""Seconds that a worker has for leaving unless its pod says otherwise: the notice that spot nodes give."""

RESERVE = 5
"""Seconds of them that are left for the end of the process."""

ROUTE = "/dask-k8s/v1/leave"

SCRIPT = """
import os, socket, ssl, sys
host, port, route, seconds, *authority = sys.argv[1:]
pod = os.environ.get("DASK_WORKER_NAME") or socket.gethostname()
body = '{"pod": "%s", "seconds": %s}' % (pod, seconds)
head = "POST %s HTTP/1.0\\r\\nHost: %s\\r\\nContent-Length: %d\\r\\n\\r\\n" % (route, host, len(body))

def secured(connection):
    context = ssl.create_default_context(cafile=authority[0])
    context.check_hostname = False
    return context.wrap_socket(connection)

try:
    with socket.create_connection((host, int(port)), 5) as connection:
        scheduler = secured(connection) if authority else connection
        scheduler.settimeout(float(seconds))
        scheduler.sendall((head + body).encode())
        scheduler.recv(1)
except OSError as error:
    print("the scheduler does not answer:", error)
""".strip()


def with_leaving(container: Object, host: str, port: int, grace: int, authority: str = "") -> Object:
    """Have a container ask its scheduler before it ends; a user's own ``lifecycle`` stays as it is.

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
    """
    if "lifecycle" in container or grace <= RESERVE:
        return container
    command = ["python", "-c", SCRIPT, host, str(port), ROUTE, str(grace - RESERVE)]
    command += [authority] if authority else []
    hook: dict[str, Any] = {"preStop": {"exec": {"command": command}}}
    return {**container, "lifecycle": hook}
