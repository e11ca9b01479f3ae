"""Where kopf comes in: it watches what these handlers are for, and writes nothing on users' objects.

The objects themselves go into the cache by the session that kopf logs in with (`WatchSession`); kopf sees
none of them, but those that a plugin has handlers for.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click
import kopf

from dask_k8s_controller.kubernetes.connection import Logins
from dask_k8s_controller.kubernetes.errors import Unavailable
from dask_k8s_controller.kubernetes.resources import PODS, SERVICES, WATCHED, Resource
from dask_k8s_controller.watching.plugins import watched_by_others
from dask_k8s_controller.watching.rights import KindsMissing, discover
from dask_k8s_controller.watching.session import WatchSession
from dask_k8s_models import labels

if TYPE_CHECKING:
    from dask_k8s_controller.operator import Operator

FINALIZER = "kubernetes.dask.org/controller"
"""kopf removes the finalizer of its configured name where it needs none; the usual one may be another's."""

PART = 200
"""So many objects are listed at a time: what others have made in any number must not be in memory at once."""


def register_handlers(registry: kopf.OperatorRegistry | None, make_operator: Callable[[], Operator]) -> None:
    """Register all handlers of the controller, which is made when kopf starts; by default with kopf."""
    registry = registry or kopf.get_default_registry()

    async def start(settings: kopf.OperatorSettings, memo: Any, **_: Any) -> None:
        memo.dask_shared = _configure(settings, registry)
        memo.dask_operator = operator = make_operator()
        memo.dask_logins = Logins(operator.log_in)
        operator.trusts_env = bool(settings.networking.trust_env)
        try:
            await operator.api.connection()
            may_scan, there = await discover(operator.api)
        except (Unavailable, KindsMissing) as error:
            raise kopf.PermanentError(str(error)) from error
        settings.scanning.disabled = not may_scan
        operator.watches.expect(there)
        await operator.start(taken_port=_liveness_port())
        if threading.current_thread() is threading.main_thread():  # else others share the process's memory
            # All that was imported stays: looking through it again and again holds the event loop up.
            gc.collect()
            gc.freeze()

    kopf.on.startup(registry=registry, id="dask_start")(start)
    kopf.on.login(registry=registry, id="dask_login")(_log_in)
    kopf.on.cleanup(registry=registry, id="dask_stop")(_stop)
    kopf.on.probe(registry=registry, id="dask")(_probe)
    for resource in WATCHED:
        where = (resource.group, resource.version, resource.plural)
        kopf.on.event(*where, registry=registry, id=f"dask_{resource.plural}", when=lambda **_: False)(
            _ignored
        )


async def _ignored(**_: Any) -> None:
    """Do nothing: kopf watches a resource if there is a handler for it."""


def _configure(settings: kopf.OperatorSettings, registry: kopf.OperatorRegistry) -> frozenset[Resource]:
    """Choose what kopf does; return the resources for which others have handlers."""
    settings.persistence.finalizer = FINALIZER
    settings.watching.chunk_size = PART
    if not settings.peering.mandatory:
        settings.peering.standalone = True
    shared = watched_by_others(registry)
    for resource in (PODS, SERVICES):
        if resource not in shared:
            settings.watching.label_selectors[resource.version, resource.plural] = labels.CLUSTER_NAME
    return shared


async def _stop(memo: Any, **_: Any) -> None:
    operator: Operator = memo.dask_operator
    await operator.stop()


async def _log_in(memo: Any, **_: Any) -> kopf.AiohttpSession:
    operator: Operator = memo.dask_operator
    logins: Logins = memo.dask_logins
    connection = await logins.log_in_until_it_works()
    session: Any = WatchSession(connection.session, operator.watches, operator.informer, memo.dask_shared)
    return kopf.AiohttpSession(
        server=connection.server, aiohttp_session=session, default_namespace=connection.namespace
    )


async def _probe(memo: Any, **_: Any) -> str:
    operator: Operator = memo.dask_operator
    if problem := operator.health.problem():
        raise kopf.PermanentError(problem)
    return "healthy"


def _liveness_port() -> int | None:
    """Return the port that ``kopf run --liveness=…`` is going to listen on."""
    context = click.get_current_context(silent=True)
    endpoint = context.params.get("liveness_endpoint") if context is not None else None
    return (urlsplit(endpoint).port or 80) if endpoint else None
