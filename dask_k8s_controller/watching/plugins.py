"""Plugins: other packages' kopf handlers, named by the entry point group ``dask_operator_plugin``."""

from __future__ import annotations

import logging
from importlib.metadata import entry_points
from typing import Any

import kopf

from dask_k8s_controller.kubernetes.resources import NODES, PODS, SERVICES, WATCHED, Resource
from dask_k8s_models.kinds import KINDS

logger = logging.getLogger(__name__)

ENTRY_POINT_GROUP = "dask_operator_plugin"

SHORT_NAMES = {PODS.kind: ("po",), SERVICES.kind: ("svc",), NODES.kind: ("no",)} | {
    kind: model.resource_names.short for kind, model in KINDS.items()
}


def load_plugins() -> list[str]:
    """Import all plugins, which thereby register their handlers; return their names."""
    loaded = []
    for entry_point in entry_points(group=ENTRY_POINT_GROUP):
        entry_point.load()
        loaded.append(entry_point.name)
        logger.info("Loaded the plugin %s (%s).", entry_point.name, entry_point.value)
    return loaded


def watched_by_others(registry: kopf.OperatorRegistry) -> frozenset[Resource]:
    """Find which of the resources that we watch have handlers that aren't ours.

    Their events have to reach kopf. And it applies a watch's label selector to all handlers of a resource: it
    must not hide from a plugin what isn't Dask's.
    """
    others: set[Resource] = set()
    for handlers in (registry._watching, registry._changing, registry._spawning, registry._indexing):
        for handler in handlers.get_all_handlers():
            module = getattr(_unwrapped(handler.fn), "__module__", "")
            if handler.selector is not None and not module.startswith("dask_k8s_controller"):
                others |= {resource for resource in WATCHED if _selects(handler.selector, resource)}
    return frozenset(others)


def _selects(selector: Any, resource: Resource) -> bool:
    from kopf._cogs.structs.references import Resource as KopfResource

    known = KopfResource(
        group=resource.group,
        version=resource.version,
        plural=resource.plural,
        kind=resource.kind,
        singular=resource.kind.lower(),
        shortcuts=frozenset(SHORT_NAMES[resource.kind]),
        categories=frozenset({"dask" if resource.kind in KINDS else "all"}),
        subresources=frozenset(),
        namespaced=True,
        preferred=True,
        verbs=frozenset({"list", "watch", "patch"}),
    )
    return bool(selector.check(known))


def _unwrapped(function: Any) -> Any:
    while hasattr(function, "func"):
        function = function.func
    return function
