"""Where kopf comes in: its watches feed the stores and the queue. It writes nothing on users' objects.

Only ``kopf.index`` and ``kopf.on.event`` are used for objects: https://docs.kopf.dev/en/stable/indexing/.
kopf calls an index's function before any event handler, and no event handler at all before every object that
exists has been through it.
"""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click
import kopf

from dask_k8s_controller.kubernetes.resources import PODS, SERVICES, WATCHED, Resource
from dask_k8s_controller.watching.login import Logins
from dask_k8s_controller.watching.plugins import NoDiffs, keep_diffs, watched_by_others
from dask_k8s_controller.watching.rights import KindsMissing, may_scan
from dask_k8s_controller.watching.session import WatchSession
from dask_k8s_credentials import CredentialsError
from dask_k8s_models import labels

if TYPE_CHECKING:
    from dask_k8s_controller.operator import Operator

logger = logging.getLogger(__name__)

FINALIZER = "kubernetes.dask.org/controller"
"""kopf removes the finalizer of its configured name where it needs none; the usual one may be another's."""


def register_handlers(registry: kopf.OperatorRegistry | None, make_operator: Callable[[], Operator]) -> None:
    """Register all handlers of the controller.

    Parameters
    ----------
    registry : kopf.OperatorRegistry or None
        Where to; None for kopf's default registry.
    make_operator : callable
        Makes the controller when kopf starts.
    """
    registry = registry or kopf.get_default_registry()

    async def start(settings: kopf.OperatorSettings, memo: Any, **_: Any) -> None:
        logging.getLogger("kopf.objects").addFilter(_concerns_others)
        _configure(settings, registry)
        memo.dask_operator = make_operator()
        memo.dask_logins = Logins(memo.dask_operator.log_in)
        memo.dask_operator.trusts_env = bool(settings.networking.trust_env)
        try:
            connection = await memo.dask_operator.log_in()
        except CredentialsError as error:
            raise kopf.PermanentError(str(error)) from error
        try:
            settings.scanning.disabled = not await may_scan(connection)
        except KindsMissing as error:
            raise kopf.PermanentError(str(error)) from error
        await memo.dask_operator.start(taken_port=_liveness_port())
        if threading.current_thread() is threading.main_thread():  # else others share the process's memory
            # All that was imported stays: looking through it again and again holds the event loop up.
            gc.collect()
            gc.freeze()

    kopf.on.startup(registry=registry, id="dask_start")(start)
    kopf.on.login(registry=registry, id="dask_login")(_log_in)
    kopf.on.cleanup(registry=registry, id="dask_stop")(_stop)
    kopf.on.probe(registry=registry, id="dask")(_probe)
    for resource in WATCHED:
        _watch(registry, resource)


def _watch(registry: kopf.OperatorRegistry, resource: Resource) -> None:
    selection = {labels.CLUSTER_NAME: kopf.PRESENT} if resource in (PODS, SERVICES) else None
    where = (resource.group, resource.version, resource.plural)

    # Coroutines, though they await nothing: kopf runs plain functions in threads.
    async def index(body: kopf.Body, memo: kopf.Memo, **_: Any) -> None:
        _operator(memo).seen({"kind": resource.kind, **body})

    async def event(type: str | None, body: kopf.Body, memo: kopf.Memo, **_: Any) -> None:  # noqa: A002
        _operator(memo).changed(resource.kind, type, body)

    index_id, event_id = f"dask_{resource.plural}_seen", f"dask_{resource.plural}_changed"
    kopf.index(*where, registry=registry, id=index_id, labels=selection)(index)
    kopf.on.event(*where, registry=registry, id=event_id, labels=selection)(event)


def _operator(memo: Any) -> Operator:
    operator: Operator = memo.dask_operator
    return operator


def _configure(settings: kopf.OperatorSettings, registry: kopf.OperatorRegistry) -> None:
    settings.persistence.finalizer = FINALIZER
    if not settings.peering.mandatory:
        settings.peering.standalone = True
    if not keep_diffs(registry):
        settings.persistence.diffbase_storage = NoDiffs()
    watched = watched_by_others(registry)
    for resource in (PODS, SERVICES):
        if resource not in watched:
            settings.watching.label_selectors[resource.version, resource.plural] = labels.CLUSTER_NAME


def _concerns_others(record: logging.LogRecord) -> bool:
    """Whether a line of kopf's log is about a plugin's handler: ours are called for every single event."""
    return record.levelno > logging.INFO or "'dask_" not in str(record.msg)


async def _stop(memo: Any, **_: Any) -> None:
    await _operator(memo).stop()


async def _log_in(memo: Any, **_: Any) -> kopf.AiohttpSession:
    operator = _operator(memo)
    logins: Logins = memo.dask_logins
    connection = await logins.connection()
    session: Any = WatchSession(connection, operator.watches, operator)
    return kopf.AiohttpSession(
        server=connection.server, aiohttp_session=session, default_namespace=connection.namespace
    )


async def _probe(memo: Any, **_: Any) -> str:
    if problem := _operator(memo).health.problem():
        raise kopf.PermanentError(problem)
    return "healthy"


def _liveness_port() -> int | None:
    """Return the port that ``kopf run --liveness=…`` is going to listen on."""
    context = click.get_current_context(silent=True)
    endpoint = context.params.get("liveness_endpoint") if context is not None else None
    return (urlsplit(endpoint).port or 80) if endpoint else None
