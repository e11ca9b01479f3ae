"""What every object is called, and which names are allowed: one home for controller, client and tests."""

from __future__ import annotations

import hashlib
import re
import secrets
import unicodedata

MAX_CLUSTER_NAME_LENGTH = 53
"""DaskCluster and DaskJob: ``{cluster}-scheduler`` must fit into a Service's name of 63 characters."""

MAX_NAME_LENGTH = 63
"""DaskWorkerGroup and DaskAutoscaler: their names are values of labels."""

CLUSTER_NAME_PATTERN = "^[a-z]([-a-z0-9]*[a-z0-9])?$"
"""DaskCluster and DaskJob begin with a letter, since a Service is called after them (RFC 1035)."""

NAME_PATTERN = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
"""A DNS label (RFC 1123): DaskWorkerGroup and DaskAutoscaler."""

DEFAULT_GROUP = "default"
"""What Python calls the group that every cluster has."""

SCHEDULER_PORT = 8786
DASHBOARD_PORT = 8787
WORKER_DASHBOARD_PORT = 8788


def scheduler(cluster: str, suffix: str = "") -> str:
    """Name of a cluster's scheduler Pod and Service; with a suffix the pod that replaces a dying one."""
    return f"{cluster}-scheduler-{suffix}" if suffix else f"{cluster}-scheduler"


def tls_secret(cluster: str, suffix: str = "") -> str:
    """Name of the Secret with a cluster's certificate; with a suffix one that follows another."""
    return f"{cluster}-tls-{suffix}" if suffix else f"{cluster}-tls"


def network_policy(cluster: str) -> str:
    """Name of a cluster's NetworkPolicy."""
    return f"{cluster}-dask"


def default_group(cluster: str) -> str:
    """Name of the DaskWorkerGroup that a cluster's own ``spec.worker`` describes."""
    return worker_group(cluster, DEFAULT_GROUP)


def worker_group(cluster: str, group: str) -> str:
    """Name of the DaskWorkerGroup that Python calls ``group``."""
    return f"{cluster}-{group}"


def worker(group: str, suffix: str = "") -> str:
    """Name of a worker's Pod; without a suffix a new one of 10 random hexadecimal digits."""
    return f"{group}-worker-{suffix or random_suffix()}"


def runner(job: str, attempt: int = 1) -> str:
    """Name of the Pod that runs a job's ``attempt``, counted from 1."""
    return f"{job}-runner" if attempt == 1 else f"{job}-runner-{attempt}"


def job_cluster(job: str) -> str:
    """Name of the DaskCluster that a DaskJob makes."""
    return job


def autoscaler(cluster: str, group: str = DEFAULT_GROUP) -> str:
    """Name of the DaskAutoscaler that Python makes for one of a cluster's groups."""
    return cluster if group == DEFAULT_GROUP else worker_group(cluster, group)


def random_suffix() -> str:
    """Return 10 hexadecimal digits."""
    return secrets.token_hex(5)


def scheduler_host(cluster: str, namespace: str) -> str:
    """Host of the scheduler's Service, without the cluster domain, which differs between clusters."""
    return f"{scheduler(cluster)}.{namespace}.svc"


def scheduler_address(cluster: str, namespace: str, port: int = SCHEDULER_PORT, protocol: str = "tcp") -> str:
    """Return the address at which pods reach the scheduler."""
    return f"{protocol}://{scheduler_host(cluster, namespace)}:{port}"


def dashboard_address(cluster: str, namespace: str, port: int = DASHBOARD_PORT, scheme: str = "http") -> str:
    """Return the address at which pods reach the scheduler's dashboard and HTTP routes."""
    return f"{scheme}://{scheduler_host(cluster, namespace)}:{port}"


def problem_with_cluster_name(name: str) -> str | None:
    """Say what is wrong with the name of a DaskCluster or DaskJob, and what is allowed.

    Parameters
    ----------
    name : str
        The proposed name.

    Returns
    -------
    str or None
        None if the name is valid.
    """
    if len(name) > MAX_CLUSTER_NAME_LENGTH or not re.fullmatch(CLUSTER_NAME_PATTERN.strip("^$"), name):
        return CLUSTER_NAME_MESSAGE
    return None


def problem_with_name(name: str) -> str | None:
    """Say what is wrong with the name of a DaskWorkerGroup or DaskAutoscaler, and what is allowed.

    Parameters
    ----------
    name : str
        The proposed name.

    Returns
    -------
    str or None
        None if the name is valid.
    """
    if len(name) > MAX_NAME_LENGTH or not re.fullmatch(NAME_PATTERN.strip("^$"), name):
        return NAME_MESSAGE
    return None


CLUSTER_NAME_MESSAGE = (
    f"metadata.name must be at most {MAX_CLUSTER_NAME_LENGTH} characters, "
    "lower-case letters, digits and '-', begin with a letter and end with a letter or digit"
)
NAME_MESSAGE = (
    f"metadata.name must be at most {MAX_NAME_LENGTH} characters, "
    "lower-case letters, digits and '-', begin and end with a letter or digit"
)


def valid_name(text: str, max_length: int = MAX_CLUSTER_NAME_LENGTH) -> str:
    """Make a valid name of any text, the same for the same text.

    Parameters
    ----------
    text : str
        What the name should look like, e.g. ``dask-Jörg.Müller@example.com-1a2b3c4d``.
    max_length : int
        The result is at most that many characters long. What is longer loses its middle, for the
        end is often what makes a name unique.

    Returns
    -------
    str
        A name that `problem_with_cluster_name` has nothing against; ``text`` itself if it is valid.
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    name = re.sub("[^a-z0-9]+", "-", plain).strip("-") if problem_with_cluster_name(text) else text
    if not name or not name[0].isalpha():
        name = f"dask-{name}".strip("-")
    if len(name) > max_length:
        digest = hashlib.sha256(text.encode()).hexdigest()[:6]
        tail = name[-10:].strip("-")
        head = name[: max_length - len(tail) - len(digest) - 2].strip("-")
        name = f"{head}-{digest}-{tail}"
    return name
