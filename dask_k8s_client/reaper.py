"""At the interpreter's exit: delete the clusters that this process made and nobody closed.

By then event loops may be closed and can't start threads any more: it speaks plain HTTP from the main thread.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import ssl
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from dask_k8s_credentials import Credentials, CredentialsError

logger = logging.getLogger(__name__)

TIMEOUT = 10.0
"""Seconds for each cluster."""
DONE = (404, 409)
"""It is gone, or another cluster has the name."""


class Closable(Protocol):
    """What a cluster offers the reaper."""

    def abandon(self) -> None:
        """Let go of connections and tasks, and delete nothing."""


@dataclass(frozen=True, eq=False)
class Leftover:
    """A DaskCluster to delete; each is one of its own, even if two tell the same.

    Attributes
    ----------
    credentials : Credentials
        Those of its creation.
    reload : callable
        Loads newer ones, as these may have expired meanwhile.
    path, uid : str
        Its path on the API server, and the uid that it must have: another one of the name stays.
    """

    credentials: Credentials
    reload: Callable[[], Credentials]
    path: str
    uid: str


_leftovers: set[Leftover] = set()
instances: weakref.WeakSet[Closable] = weakref.WeakSet()


def remember(leftover: Leftover) -> None:
    """Delete this cluster at exit, unless it is forgotten before."""
    _leftovers.add(leftover)


def forget(leftover: Leftover) -> None:
    """Don't delete it at exit: it is deleted already, or shall stay."""
    _leftovers.discard(leftover)


def _begin_anew() -> None:
    """In a forked process: what there is belongs to the process that made it, what comes to this one."""
    _leftovers.clear()
    instances.clear()


os.register_at_fork(after_in_child=_begin_anew)


@atexit.register
def reap() -> None:
    """Delete what is left and let go of what is open."""
    for leftover in list(_leftovers):
        try:
            delete(leftover)
        except (OSError, ValueError, CredentialsError) as error:
            logger.warning("The Dask cluster at %s could not be deleted at exit: %s", leftover.path, error)
        forget(leftover)
    for cluster in list(instances):
        with suppress(Exception):  # nobody is left who could do anything about it
            cluster.abandon()


def delete(leftover: Leftover) -> None:
    """Delete a cluster; that it is gone already is fine.

    Raises
    ------
    OSError
        The API server can't be reached or refuses.
    CredentialsError
        The credentials have expired, and there are no newer ones.
    """
    code = _send(leftover, leftover.credentials)
    if code == 401:
        code = _send(leftover, leftover.reload())
    if code >= 400 and code not in DONE:
        raise OSError(f"the API server answered {code}")


def _send(leftover: Leftover, credentials: Credentials) -> int:
    import httpx

    body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": leftover.uid}}
    try:
        with httpx.Client(
            headers=[("Content-Type", "application/json"), *credentials.headers],
            verify=credentials.ssl_context or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            proxy=credentials.proxy,
            trust_env=not credentials.is_local,
            timeout=TIMEOUT,
        ) as client:
            url = credentials.server + leftover.path
            return client.request("DELETE", url, content=json.dumps(body)).status_code
    except httpx.HTTPError as error:
        raise OSError(str(error) or type(error).__name__) from error
