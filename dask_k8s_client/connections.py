"""The connections of those who open none themselves: one an event loop, and one for use without.

Nobody closes these, so they leave nothing open between two requests.
"""

from __future__ import annotations

import asyncio
import os
import weakref

from kr8s._async_utils import Portal, as_sync_func

from dask_k8s_client.api import Api, Path, SyncApi

_Source = tuple[str, str | None]

_by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[_Source, Api]] = (
    weakref.WeakKeyDictionary()
)
_synchronous: dict[_Source, SyncApi] = {}


async def api(kubeconfig: Path | None = None, context: str | None = None) -> Api:
    """Return the running event loop's connection to a Kubernetes.

    Parameters
    ----------
    kubeconfig, context : optional
        Which Kubernetes, see `dask_k8s_credentials.load`.

    Raises
    ------
    CredentialsError
        There are no credentials.
    """
    known = _by_loop.setdefault(asyncio.get_running_loop(), {})
    key = _source(kubeconfig, context)
    if key not in known:
        known[key] = Api(kubeconfig, context, keeps_connections=False)
    connection = known[key]
    await connection
    return connection


def sync_api(kubeconfig: Path | None = None, context: str | None = None) -> SyncApi:
    """Return this process's connection to a Kubernetes for use without an event loop.

    Parameters
    ----------
    kubeconfig, context : optional
        Which Kubernetes, see `dask_k8s_credentials.load`.

    Raises
    ------
    CredentialsError
        There are no credentials.
    """
    return as_sync_func(synchronous)(kubeconfig, context)


async def synchronous(kubeconfig: Path | None = None, context: str | None = None) -> SyncApi:
    """Return what `sync_api` does, to those who run in kr8s's thread for what isn't asynchronous."""
    key = _source(kubeconfig, context)
    if key not in _synchronous:
        _synchronous[key] = await SyncApi(kubeconfig, context, keeps_connections=False)
    return _synchronous[key]


def _source(kubeconfig: Path | None, context: str | None) -> _Source:
    return os.fspath(kubeconfig) if kubeconfig else os.environ.get("KUBECONFIG", ""), context


def _begin_anew() -> None:
    """In a forked process kr8s's thread, which sends the requests, is gone; its connections are another's."""
    _synchronous.clear()
    if hasattr(Portal, "_instance"):
        del Portal._instance


os.register_at_fork(after_in_child=_begin_anew)
