"""What a pod spec says about the Dask process in it: the one home of that knowledge.

All functions take plain pod specs, as they stand in manifests and come from the API server, and are pure.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import takewhile
from typing import Any

from dask_k8s_models import commands, names
from dask_k8s_models.labels import DEFAULT_CONTAINER, Component

PodSpec = Mapping[str, Any]
Container = Mapping[str, Any]

TCP_COMM = "tcp-comm"
HTTP_DASHBOARD = "http-dashboard"

CONTAINER_NAMES: Mapping[str, tuple[str, ...]] = {
    Component.SCHEDULER: ("scheduler", "dask-scheduler"),
    Component.WORKER: ("worker", "dask-worker"),
    Component.JOB_RUNNER: ("job", "job-runner"),
}
"""What the containers that run Dask are called, by the builders and in the wild."""

_PORTS: Mapping[str, tuple[str, int]] = {
    Component.SCHEDULER: (TCP_COMM, names.SCHEDULER_PORT),
    Component.WORKER: (HTTP_DASHBOARD, names.WORKER_DASHBOARD_PORT),
}


def main_container(
    pod_spec: PodSpec, component: str, annotations: Mapping[str, str] | None = None
) -> Container:
    """Find the container of a pod that runs Dask; the others are its sidecars.

    It is the one that the annotation ``kubectl.kubernetes.io/default-container`` names, else the one called
    as the component (``scheduler`` or ``dask-scheduler``, ``worker`` or ``dask-worker``, ``job``), else the
    one whose command runs the component, else the one with its port, else the first.

    Parameters
    ----------
    pod_spec : mapping
        The ``spec`` of a pod.
    component : str
        One of `Component`: ``scheduler``, ``worker`` or ``job-runner``.
    annotations : mapping, optional
        Annotations of the pod, or of the ``metadata`` beside its spec in one of our kinds.

    Returns
    -------
    mapping
        The container itself, not a copy; empty if the pod has none.
    """
    containers = [container for container in pod_spec.get("containers") or () if container]
    return next(_candidates(containers, component, annotations or {}), {})


def precedence_of_scheduler(is_ready: bool, created: float, name: str) -> tuple[bool, float, str]:
    """Return the key by which the first of a cluster's live scheduler pods is the one that counts.

    There are two while one is replaced: rather a ready one than one that isn't, rather the old than the new,
    which workers and clients still have to find.

    Parameters
    ----------
    is_ready : bool
        Whether the pod serves.
    created : float
        When it was created, in seconds.
    name : str
        The pod's.
    """
    return not is_ready, created, name


def _candidates(
    containers: list[Container], component: str, annotations: Mapping[str, str]
) -> Iterator[Container]:
    called = [annotations.get(DEFAULT_CONTAINER), *CONTAINER_NAMES.get(component, ())]
    for name in called:
        yield from (container for container in containers if container.get("name") == name)
    if component in _PORTS:
        yield from (container for container in containers if commands.runs_dask(container, component))
        name, number = _PORTS[component]
        yield from (container for container in containers if _port(container, name, number))
    yield from containers


def _port(container: Container, name: str, number: int) -> int | None:
    ports = container.get("ports") or ()
    named = [port for port in ports if port.get("name") == name]
    numbered = [port for port in ports if port.get("containerPort") == number]
    found = next(iter([*named, *numbered]), None)
    return None if found is None else int(found["containerPort"])


def scheduler_protocol(pod_spec: PodSpec, annotations: Mapping[str, str] | None = None) -> str:
    """Return the protocol that a scheduler speaks, the scheme of its address: ``tcp`` unless it is told.

    It is told by ``--protocol`` or ``--host``, by certificates among its arguments, or by the settings
    ``distributed.comm.require-encryption`` and ``default-scheme`` in its environment, in this order. A
    mounted configuration file isn't seen.

    Parameters
    ----------
    pod_spec : mapping
        The ``spec`` of the scheduler's pod.
    annotations : mapping, optional
        As for `main_container`.
    """
    container = main_container(pod_spec, Component.SCHEDULER, annotations)
    if protocol := commands.option(container, "--protocol"):
        return protocol.partition(",")[0].removesuffix("://")
    scheme, divider, _ = (commands.option(container, "--host") or "").partition("://")
    if divider:
        return scheme
    if any(commands.option(container, name) for name in ("--tls-ca-file", "--tls-cert", "--tls-key")):
        return "tls"
    encrypted = commands.variable(container, "distributed.comm.require-encryption") or ""
    if encrypted.lower() in ("true", "1", "yes", "on"):
        return "tls"
    return commands.variable(container, "distributed.comm.default-scheme") or "tcp"


def dashboard_prefix(pod_spec: PodSpec, annotations: Mapping[str, str] | None = None) -> str:
    """Return the path under which a scheduler serves its dashboard and all its HTTP routes.

    Parameters
    ----------
    pod_spec : mapping
        The ``spec`` of the scheduler's pod.
    annotations : mapping, optional
        As for `main_container`.

    Returns
    -------
    str
        E.g. ``/user/me``, to be put before ``/health`` or ``/status``; empty without ``--dashboard-prefix``,
        which is the only place where Dask lets one say it.
    """
    container = main_container(pod_spec, Component.SCHEDULER, annotations)
    prefix = (commands.option(container, "--dashboard-prefix") or "").strip("/")
    return f"/{prefix}" if prefix else ""


def comm_port(pod_spec: PodSpec, annotations: Mapping[str, str] | None = None) -> int:
    """Return the port of its pod at which a scheduler listens for workers and clients.

    Parameters
    ----------
    pod_spec : mapping
        The ``spec`` of the scheduler's pod.
    annotations : mapping, optional
        As for `main_container`.
    """
    container = main_container(pod_spec, Component.SCHEDULER, annotations)
    given = (commands.option(container, "--port") or "").partition(",")[0]
    fallback = _number(given) or names.SCHEDULER_PORT
    return _port(container, TCP_COMM, fallback) or fallback


def dashboard_port(pod_spec: PodSpec, annotations: Mapping[str, str] | None = None) -> int:
    """Return the port of its pod at which a scheduler serves its dashboard and its HTTP routes.

    Parameters
    ----------
    pod_spec : mapping
        The ``spec`` of the scheduler's pod.
    annotations : mapping, optional
        As for `main_container`.
    """
    container = main_container(pod_spec, Component.SCHEDULER, annotations)
    given = (commands.option(container, "--dashboard-address") or "").rpartition(":")[2]
    fallback = _number(given) or names.DASHBOARD_PORT
    return _port(container, HTTP_DASHBOARD, fallback) or fallback


def runs_jupyter(pod_spec: PodSpec, annotations: Mapping[str, str] | None = None) -> bool:
    """Whether a scheduler also serves Jupyter.

    Parameters
    ----------
    pod_spec : mapping
        The ``spec`` of the scheduler's pod.
    annotations : mapping, optional
        As for `main_container`.
    """
    container = main_container(pod_spec, Component.SCHEDULER, annotations)
    return commands.has_flag(container, "--jupyter", opposite="--no-jupyter")


GPUS = ("nvidia.com/gpu", "nvidia.com/gpu.shared", "nvidia.com/mig-", "amd.com/gpu", "gpu.intel.com/")
"""How the resources of containers begin that are GPUs, or parts of one."""

WORKER_RESOURCES = "DASK_DISTRIBUTED__WORKER__RESOURCES"


def worker_resources(
    pod_spec: PodSpec,
    annotations: Mapping[str, str] | None = None,
    declared: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Find the abstract resources that each worker of a pod offers.

    They are said by ``--resources "GPU=1 MEMORY=32e9"``, else by the environment variable
    ``DASK_DISTRIBUTED__WORKER__RESOURCES``, else by the group's ``worker.resources``, else by the
    container's GPUs, which its workers share. https://distributed.dask.org/en/stable/resources.html

    Parameters
    ----------
    pod_spec : mapping
        The ``spec`` of a worker's pod.
    annotations : mapping, optional
        See `main_container`.
    declared : mapping, optional
        What the group says beside its pod's spec, even if that is nothing.

    Returns
    -------
    dict
        Amounts by name; empty if there are none, or if they can't be read.
    """
    container = main_container(pod_spec, "worker", annotations)
    if (by_option := _resources_option(commands.words_of(container))) is not None:
        return by_option
    env = {str(one.get("name")): one.get("value") or "" for one in container.get("env") or ()}
    offered = dict(_gpus_of_worker(container) if declared is None else declared)
    if WORKER_RESOURCES in env:
        offered = _literal(env[WORKER_RESOURCES])
    for name, value in env.items():
        if name.startswith(f"{WORKER_RESOURCES}__"):
            offered |= _amounts(f"{name.removeprefix(WORKER_RESOURCES + '__').lower()}={value}")
    return offered


def has_gpus(pod_spec: PodSpec, annotations: Mapping[str, str] | None = None) -> bool:
    """Whether the container of a pod that runs a worker has GPUs, whatever the worker offers.

    Parameters
    ----------
    pod_spec : mapping
        The ``spec`` of a worker's pod.
    annotations : mapping, optional
        See `main_container`.
    """
    return _gpus(main_container(pod_spec, "worker", annotations)) > 0


def _gpus(container: Container) -> int:
    limits = (container.get("resources") or {}).get("limits") or {}
    return sum(_number(str(amount)) for name, amount in limits.items() if str(name).startswith(GPUS))


def _gpus_of_worker(container: Container) -> dict[str, float]:
    """Return what each worker has of its container's GPUs, if it can be told how many share them."""
    gpus = _gpus(container)
    if gpus and commands.runs_dask_cuda(container):
        return {"GPU": 1}  # It starts a worker for each.
    workers = _workers(container)
    return {"GPU": gpus / workers} if gpus and workers else {}


def worker_threads(pod_spec: PodSpec, annotations: Mapping[str, str] | None = None) -> int:
    """Find how many threads each worker of a pod has, as many tasks as it runs at a time.

    They are said by ``--nthreads``; else the workers of a pod share the processors that its limit leaves it.

    Parameters
    ----------
    pod_spec : mapping
        The ``spec`` of a worker's pod.
    annotations : mapping, optional
        See `main_container`.

    Returns
    -------
    int
        0 if that can't be told before the worker runs.
    """
    container = main_container(pod_spec, "worker", annotations)
    if said := _number(commands.option(container, "--nthreads") or ""):
        return said
    if commands.runs_dask_cuda(container):
        return 1
    limit = str(((container.get("resources") or {}).get("limits") or {}).get("cpu", ""))
    with suppress(ValueError, OverflowError):
        cpus = math.ceil(float(limit.removesuffix("m")) / (1000 if limit.endswith("m") else 1))
        return cpus // _workers(container) if _workers(container) else 0
    return 0


def _workers(container: Container) -> int:
    """Return how many workers a container starts; 0 if that depends on its processors."""
    said = commands.option(container, "--nworkers") or commands.option(container, "--nprocs") or "1"
    return _number(said)


def _number(said: str) -> int:
    """Return a number that somebody has written; 0 if it is none, or has more digits than make sense."""
    return int(said) if said.isdecimal() and len(said) < 10 else 0


def _resources_option(words: Sequence[str]) -> dict[str, float] | None:
    """Read what follows the last ``--resources``: one word or, as a shell would have it, several."""
    option = "--resources"
    places = [place for place, word in enumerate(words) if word.partition("=")[0] == option]
    if not places:
        return None
    first, *rest = words[places[-1] :]
    values = takewhile(lambda word: "=" in word and not word.startswith("-"), rest)
    return _amounts(" ".join([first.removeprefix(option).removeprefix("="), *values]))


def _amounts(text: str) -> dict[str, float]:
    """Read ``GPU=1 MEMORY=32e9``, with commas or spaces between."""
    found = {}
    for part in text.replace(",", " ").split():
        name, _, amount = part.partition("=")
        with suppress(ValueError):
            found[name] = float(amount)
    return found


def _literal(text: str) -> dict[str, float]:
    """Read a Python or JSON mapping, as Dask reads its environment variables."""
    try:
        found = ast.literal_eval(text)
        return {str(name): float(amount) for name, amount in found.items() if isinstance(amount, int | float)}
    except (ArithmeticError, AttributeError, MemoryError, RecursionError, SyntaxError, TypeError, ValueError):
        return {}
