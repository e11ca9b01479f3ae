"""How the controller logs in: with the credentials of the kubeconfig, else of the pod's service account."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import aiohttp
from multidict import CIMultiDict

from dask_k8s_credentials import Credentials, CredentialsError, load

KEPT_ALIVE = 60.0
"""Seconds for which an idle connection is kept: a TLS handshake costs as much as several requests.

API servers hang up after 90 s.
"""


@dataclass(frozen=True)
class Connection:
    """An HTTP session with the API server's credentials.

    Parameters
    ----------
    server : str
        The API server's address, without a trailing slash.
    session : aiohttp.ClientSession
        Has the credentials; whoever made the connection closes it.
    in_cluster : bool
        Whether the credentials are a pod's service account: only then other pods can be reached directly.
    namespace : str
        The credentials' own namespace.
    """

    server: str
    session: aiohttp.ClientSession
    in_cluster: bool
    namespace: str


def connect(credentials: Credentials, *, trust_env: bool = False) -> Connection:
    """Open a session; the number of connections is not limited here.

    Parameters
    ----------
    credentials : Credentials
        Where the API server is and how it knows us.
    trust_env : bool
        Whether the environment's proxies are used, if the credentials name none.

    Raises
    ------
    CredentialsError
        The proxy is of a kind that the controller can't use.
    """
    if credentials.proxy and credentials.proxy.startswith("socks"):
        raise CredentialsError(
            f"The controller can't use the kubeconfig's proxy-url {credentials.proxy}: use an HTTP proxy."
        )
    session = aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(),  # Schedulers behind the proxy are not to be recognised.
        connector=aiohttp.TCPConnector(
            limit=0, ssl=credentials.ssl_context or True, keepalive_timeout=KEPT_ALIVE
        ),
        headers=CIMultiDict([("User-Agent", "dask-k8s-controller"), *credentials.headers]),
        proxy=credentials.proxy,
        trust_env=trust_env and not credentials.is_local,
        timeout=aiohttp.ClientTimeout(total=None),
    )
    return Connection(credentials.server, session, credentials.in_cluster, credentials.namespace)


async def log_in(*, trust_env: bool = False) -> Connection:
    """Find the credentials as they are now, and open a session; a plugin of the kubeconfig may take a while.

    Raises
    ------
    CredentialsError
        There are none, or they can't be read.
    """
    return connect(await asyncio.to_thread(load), trust_env=trust_env)
