"""What it takes to speak to an API server."""

from __future__ import annotations

import ipaddress
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Credentials:
    """All that is needed to speak to an API server.

    Attributes
    ----------
    server : str
        Its address, without a trailing slash.
    namespace : str
        The current context's, or the pod's own.
    in_cluster : bool
        Whether they are a pod's service account: only then Services can be reached directly.
    headers : tuple of pairs of str
        For each request. A name may occur several times (``Impersonate-Group``).
    ssl_context : ssl.SSLContext or None
        Expects the name of ``tls-server-name`` by itself; None for an API server without TLS.
    proxy : str or None
        Address of a proxy, ``http``, ``https``, ``socks5`` or ``socks5h``.
    """

    server: str
    namespace: str = "default"
    in_cluster: bool = False
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    ssl_context: ssl.SSLContext | None = field(default=None, repr=False)
    proxy: str | None = field(default=None, repr=False)

    @property
    def is_local(self) -> bool:
        """Whether the API server is on this machine: then proxies of the environment don't concern it."""
        host = urlsplit(self.server).hostname or ""
        with suppress(ValueError):
            return ipaddress.ip_address(host).is_loopback
        return host == "localhost"
