"""What a pod asks of the node that runs it."""

from __future__ import annotations

from decimal import Decimal

from dask_k8s_local.interfaces import Object
from dask_k8s_local.node.quantities import Resources, larger, parse_resources, total


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
