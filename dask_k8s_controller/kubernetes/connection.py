"""How the controller logs in: with the pod's service account, else the kubeconfig, both read by kopf."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace

import aiohttp
import kopf

from dask_k8s_controller.kubernetes.errors import ControllerError

logger = logging.getLogger(__name__)


class NoCredentials(ControllerError):
    """Neither a service account nor a kubeconfig was found."""


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
        Whether the credentials are a pod's service account: only then Services can be reached directly.
    namespace : str
        The credentials' own namespace.
    """

    server: str
    session: aiohttp.ClientSession
    in_cluster: bool
    namespace: str


@dataclass(frozen=True)
class Credentials:
    """Where the API server is and how it knows us."""

    info: kopf.ConnectionInfo
    in_cluster: bool

    def connect(self, trace: aiohttp.TraceConfig | None = None) -> Connection:
        """Open a session; the number of connections is not limited here."""
        session = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(),  # Schedulers behind the proxy are not to be recognised.
            connector=aiohttp.TCPConnector(limit=0, ssl=self.info.as_ssl_context()),
            headers={"User-Agent": "dask-k8s-controller", **self.info.as_http_headers()},
            proxy=self.info.proxy_url,
            trust_env=self.info.trust_env,
            timeout=aiohttp.ClientTimeout(total=None),
            trace_configs=[trace] if trace is not None else None,
        )
        return Connection(
            self.info.server.rstrip("/"), session, self.in_cluster, self.info.default_namespace or "default"
        )


def find_credentials(settings: kopf.OperatorSettings | None = None) -> Credentials:
    """Read the credentials anew, as tokens change.

    Parameters
    ----------
    settings : kopf.OperatorSettings, optional
        kopf's settings, for ``networking.trust_env``.

    Raises
    ------
    NoCredentials
        If there are none.
    """
    settings = settings or kopf.OperatorSettings()
    if info := kopf.login_with_service_account(settings=settings, logger=logger):
        return Credentials(replace(info, server=_server(info.server)), in_cluster=True)
    if info := kopf.login_with_kubeconfig(settings=settings, logger=logger):
        return Credentials(info, in_cluster=False)
    raise NoCredentials(
        "no credentials for a Kubernetes API server: run in a pod with a service account, or set KUBECONFIG"
    )


def _server(by_name: str) -> str:
    """Return the API server's address as pods are told it, which needs no DNS."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    return f"https://{f'[{host}]' if ':' in host else host}:{port}" if host else by_name
