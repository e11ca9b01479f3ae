"""Plain dicts for the containers and pods of schedulers, workers and jobs, which `builders` puts together."""

from __future__ import annotations

import copy
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from dask_k8s_models import names, pods
from dask_k8s_models.pods import HTTP_DASHBOARD, TCP_COMM
from dask_k8s_models.scalars import misspelt_resource

Json = dict[str, Any]
Env = Sequence[Mapping[str, Any]] | Mapping[str, Any]
Resources = Mapping[str, Any]
Command = str | Sequence[str]

DEFAULT_IMAGE = "ghcr.io/dask/dask:latest"
WORKER_COMMAND = "dask worker"
SCHEDULER_COMMAND = "dask scheduler"

WORKER_ARGUMENTS = (
    "--name",
    "$(DASK_WORKER_NAME)",
    "--dashboard",
    "--dashboard-address",
    str(names.WORKER_DASHBOARD_PORT),
)


def env_list(env: Env | None) -> list[Json]:
    """Return environment variables as Kubernetes writes them.

    Parameters
    ----------
    env : mapping or sequence of mappings, optional
        Values by name, or Kubernetes' own list of ``{name, value}`` and ``{name, valueFrom}``.

    Returns
    -------
    list of dict
        A new list.

    Raises
    ------
    TypeError
        If ``env`` is neither.
    """
    if env is None:
        return []
    if isinstance(env, Mapping):
        return [{"name": name, "value": _env_value(name, value)} for name, value in env.items()]
    if isinstance(env, str) or not all(isinstance(variable, Mapping) for variable in env):
        raise TypeError(f"env must be a dict or a list of dicts with name and value, not {env!r}")
    return [copy.deepcopy(dict(variable)) for variable in env]


def _env_value(name: str, value: Any) -> str:
    if isinstance(value, str | int | float):
        return str(value)
    raise TypeError(f"env[{name!r}] must be a string or a number, not {value!r}")


def checked_resources(resources: Resources | None) -> Json:
    """Return a copy of a container's resources.

    Parameters
    ----------
    resources : mapping, optional
        ``limits``, ``requests`` and ``claims``, as in a container:
        https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/

    Returns
    -------
    dict
        Empty if there are none.

    Raises
    ------
    TypeError
        If ``resources``, or its limits or requests, are no mappings.
    ValueError
        If there is any other key, or ``CPU`` where ``cpu`` is meant.
    """
    if resources is None:
        return {}
    if not isinstance(resources, Mapping):
        raise TypeError(f"resources must be a dict with limits and requests, not {resources!r}")
    if unknown := set(resources) - {"limits", "requests", "claims"}:
        raise ValueError(
            f"resources has unknown field {sorted(unknown)[0]!r}: use limits, requests or claims"
        )
    for field in ("limits", "requests"):
        amounts = resources.get(field, {})
        if not isinstance(amounts, Mapping):
            raise TypeError(
                f"resources[{field!r}] must be a dict such as {{'memory': '2Gi'}}, not {amounts!r}"
            )
        for name in amounts:
            if meant := misspelt_resource(str(name)):
                raise ValueError(f"resources[{field!r}] has {name!r}: did you mean {meant!r}?")
    return copy.deepcopy(dict(resources))


def command_words(command: Command) -> list[str]:
    """Split a command into words as a shell does; a list is taken as it is."""
    return shlex.split(command) if isinstance(command, str) else list(command)


def worker_container(image: str, command: Command, env: Env | None, resources: Resources | None) -> Json:
    """Return the container of a worker.

    It has no liveness probe: a task that holds Python's lock would cost the worker and its results.
    """
    return {
        "name": "worker",
        "image": image,
        "args": [*command_words(command), *WORKER_ARGUMENTS],
        "env": env_list(env),
        "resources": checked_resources(resources),
        "ports": [_port(HTTP_DASHBOARD, names.WORKER_DASHBOARD_PORT)],
    }


def scheduler_container(
    image: str, command: Command, env: Env | None, resources: Resources | None, jupyter: bool
) -> Json:
    """Return the container of a scheduler, whose ports and probes follow the command's options."""
    container = {
        "name": "scheduler",
        "image": image,
        "args": [*command_words(command), *(["--jupyter"] if jupyter else [])],
        "env": env_list(env),
        "resources": checked_resources(resources),
    }
    pod = {"containers": [container]}
    health = {"port": HTTP_DASHBOARD, "path": f"{pods.dashboard_prefix(pod)}/health"}
    return {
        **container,
        "ports": [_port(TCP_COMM, pods.comm_port(pod)), _port(HTTP_DASHBOARD, pods.dashboard_port(pod))],
        "readinessProbe": {"httpGet": dict(health), "periodSeconds": 1, "timeoutSeconds": 5},
        # Half a minute of silence is a scheduler at work, not a dead one.
        "livenessProbe": {
            "httpGet": dict(health),
            "initialDelaySeconds": 15,
            "periodSeconds": 30,
            "timeoutSeconds": 30,
        },
    }


def job_container(image: str, command: Command, env: Env | None, resources: Resources | None) -> Json:
    """Return the container of a job."""
    return {
        "name": "job",
        "image": image,
        "args": command_words(command),
        "env": env_list(env),
        "resources": checked_resources(resources),
    }


def _port(name: str, number: int) -> Json:
    return {"name": name, "containerPort": number, "protocol": "TCP"}
