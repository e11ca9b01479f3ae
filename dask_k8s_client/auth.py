"""Credentials of ours behind kr8s's ``KubeAuth``."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from kr8s._auth import KubeAuth

from dask_k8s_client.errors import CredentialsError
from dask_k8s_credentials import Credentials
from dask_k8s_credentials import CredentialsError as LoaderError


class Auth(KubeAuth):
    """Loads credentials by `dask_k8s_credentials.load`, and leaves no key behind in a file.

    Parameters
    ----------
    loader : callable
        Returns the credentials of this moment. It may block.
    namespace : str, optional
        Instead of the context's, or the pod's own.
    """

    def __init__(self, loader: Callable[[], Credentials], namespace: str | None = None) -> None:
        super().__init__(namespace=namespace)
        self._loader = loader
        self._loaded: Credentials | None = None
        self._loading = asyncio.Lock()

    @property
    def credentials(self) -> Credentials:
        """Where the API server is and who we are.

        Raises
        ------
        CredentialsError
            They haven't been loaded yet.
        """
        if self._loaded is None:
            raise CredentialsError("The credentials haven't been loaded yet: await the Api.")
        return self._loaded

    async def reauthenticate(self) -> None:
        """Load the credentials anew.

        Raises
        ------
        CredentialsError
            There are none.
        """
        try:
            credentials = await asyncio.to_thread(self._loader)
        except LoaderError as error:
            raise CredentialsError(str(error)) from error.__cause__
        self._loaded = credentials
        self.server = credentials.server
        self.token = _bearer(credentials)
        self._namespace = self._namespace or credentials.namespace

    async def instead_of(self, refused: Credentials | None) -> Credentials:
        """Return other credentials than those that were refused; whoever asks meanwhile gets the same."""
        async with self._loading:
            if self._loaded is refused:
                await self.reauthenticate()
            return self.credentials

    async def ssl_context(self) -> ssl.SSLContext:
        """Return the TLS context; one that trusts nobody for an API server without TLS."""
        return self.credentials.ssl_context or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    @property
    def proxy(self) -> str | None:
        """The kubeconfig's proxy."""
        return self.credentials.proxy


def _bearer(credentials: Credentials) -> str | None:
    scheme, _, token = dict(credentials.headers).get("Authorization", "").partition(" ")
    return token if scheme == "Bearer" else None
