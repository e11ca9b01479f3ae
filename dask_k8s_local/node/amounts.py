"""Amounts of resources."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from dask_k8s_local.interfaces import Object
from dask_k8s_local.quantity import parse

Resources = dict[str, Decimal]
"""Amounts by resource name, e.g. ``{"cpu": Decimal("0.5")}``."""


def parse_resources(quantities: Mapping[str, str | int | float] | None) -> Resources:
    return {name: parse(quantity) for name, quantity in (quantities or {}).items()}


def total(amounts: Iterable[Resources]) -> Resources:
    result: Resources = {}
    for amount in amounts:
        for name, value in amount.items():
            result[name] = result.get(name, Decimal(0)) + value
    return result


def larger(one: Resources, other: Resources) -> Resources:
    """Return the larger amount of each resource."""
    return {
        name: max(one.get(name, Decimal(0)), other.get(name, Decimal(0)))
        for name in one.keys() | other.keys()
    }


def container_requests(container: Object) -> Resources:
    """Return a container's requests; a limit without a request is a request as well."""
    resources = container.get("resources") or {}
    return parse_resources(resources.get("limits")) | parse_resources(resources.get("requests"))


def is_sidecar(init_container: Object) -> bool:
    return init_container.get("restartPolicy") == "Always"


def pod_requests(pod: Object) -> Resources:
    """Return the requests that count against a node, one pod included.

    Init containers run one after the other beside the sidecars that were started before them, see
    https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#resource-sharing-within-containers.
    """
    spec = pod["spec"]
    sidecars: Resources = {}
    highest_while_initializing: Resources = {}
    for container in spec.get("initContainers") or []:
        request = container_requests(container)
        if is_sidecar(container):
            sidecars = total([sidecars, request])
            highest_while_initializing = larger(highest_while_initializing, sidecars)
        else:
            highest_while_initializing = larger(highest_while_initializing, total([sidecars, request]))
    running = total([sidecars, *map(container_requests, spec["containers"])])
    overhead = parse_resources(spec.get("overhead"))
    pod_level = parse_resources((spec.get("resources") or {}).get("requests"))
    return total([larger(running, highest_while_initializing) | pod_level, overhead]) | {"pods": Decimal(1)}
