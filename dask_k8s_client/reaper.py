"""At the interpreter's exit: delete the clusters that this process made and nobody closed.

By then event loops may be closed and can't start threads any more: it speaks plain HTTP from the main thread.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import ssl
import urllib.error
import urllib.request
import weakref
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from dask_k8s_credentials import Credentials

logger = logging.getLogger(__name__)

TIMEOUT = 10.0
"""Seconds for each cluster."""


class Closable(Protocol):
    """What a cluster offers the reaper."""

    def abandon(self) -> None:
        """Let go of connections and tasks, and delete nothing."""


@dataclass(frozen=True)
class Leftover:
    """A DaskCluster to delete."""

    credentials: Credentials
    path: str
    uid: str


_leftovers: dict[int, Leftover] = {}
instances: weakref.WeakSet[Closable] = weakref.WeakSet()
_process = os.getpid()


def remember(key: int, leftover: Leftover) -> None:
    """Delete this cluster at exit, unless it is forgotten before."""
    _leftovers[key] = leftover


def forget(key: int) -> None:
    """Don't delete it at exit: it is deleted already, or shall stay."""
    _leftovers.pop(key, None)


@atexit.register
def reap() -> None:
    """Delete what is left and let go of what is open."""
    if os.getpid() != _process:
        return  # a fork of the process that made them
    for key, leftover in list(_leftovers.items()):
        try:
            delete(leftover)
        except (OSError, ValueError) as error:
            logger.warning("The Dask cluster at %s could not be deleted at exit: %s", leftover.path, error)
        forget(key)
    for cluster in list(instances):
        with suppress(Exception):  # nobody is left who could do anything about it
            cluster.abandon()


def delete(leftover: Leftover) -> None:
    """Delete a cluster; that it is gone already is fine.

    Raises
    ------
    OSError
        The API server can't be reached or refuses.
    """
    credentials = leftover.credentials
    body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": leftover.uid}}
    request = urllib.request.Request(
        credentials.server + leftover.path,
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", **dict(credentials.headers)},
        method="DELETE",
    )
    context = credentials.ssl_context or ssl.create_default_context()
    handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPSHandler(context=context)]
    if credentials.proxy:
        handlers.append(urllib.request.ProxyHandler({"http": credentials.proxy, "https": credentials.proxy}))
    elif credentials.is_local:
        handlers.append(urllib.request.ProxyHandler({}))
    try:
        urllib.request.build_opener(*handlers).open(request, timeout=TIMEOUT).close()
    except urllib.error.HTTPError as error:
        error.close()
        if error.code not in (404, 409):  # gone, or another cluster of the same name
            raise
