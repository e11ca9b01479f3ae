"""LimitRanges: what containers get that don't say what they need, and what they may ask for at most.

https://kubernetes.io/docs/concepts/policy/limit-range/
"""

from __future__ import annotations

from collections.abc import Iterator

from dask_k8s_local import quantity
from dask_k8s_local.api import errors
from dask_k8s_local.api.kinds.pod_spec import containers
from dask_k8s_local.api.resource import Resource
from dask_k8s_local.api.storage.store import Store
from dask_k8s_local.interfaces import Object


def _limits(store: Store, namespace: str) -> Iterator[Object]:
    for revision in store.collection("limitranges").revisions():
        if revision.key[0] == namespace:
            for limit in (revision.object.get("spec") or {}).get("limits") or ():
                if limit.get("type") == "Container":
                    yield limit


def fill_in(store: Store, namespace: str, spec: Object) -> None:
    """Give containers the requests and limits that their namespace has for those without."""
    for limit in _limits(store, namespace):
        maximum = limit.get("max") or {}
        default = {**maximum, **(limit.get("default") or {})}
        request = {**default, **(limit.get("defaultRequest") or {})}
        for container in containers(spec):
            resources = container.setdefault("resources", {})
            own = resources.get("limits") or {}
            asked = {**request, **own, **(resources.get("requests") or {})}
            if default or own:
                resources["limits"] = {**default, **own}
            if asked:
                resources["requests"] = asked


def admit(store: Store, resource: Resource, namespace: str, pod: Object) -> None:
    """Refuse a pod whose containers ask for more or less than their namespace allows."""
    problems = [
        problem
        for limit in _limits(store, namespace)
        for container in containers(pod["spec"])
        for problem in _problems(limit, container.get("resources") or {})
    ]
    if problems:
        told = problems[0] if len(problems) == 1 else "[" + ", ".join(problems) + "]"
        raise errors.forbidden(resource, pod["metadata"].get("name", ""), told)


def _problems(limit: Object, resources: Object) -> Iterator[str]:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for name, most in (limit.get("max") or {}).items():
        told = f"maximum {name} usage per Container is {most}"
        if name not in limits:
            yield f"{told}.  No limit is specified"
        elif quantity.parse(limits[name]) > quantity.parse(most):
            yield f"{told}, but limit is {limits[name]}"
    for name, least in (limit.get("min") or {}).items():
        told = f"minimum {name} usage per Container is {least}"
        if name not in requests:
            yield f"{told}.  No request is specified"
        elif quantity.parse(requests[name]) < quantity.parse(least):
            yield f"{told}, but request is {requests[name]}"
