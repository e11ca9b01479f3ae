"""TLS to an API server."""

from __future__ import annotations

import os
import ssl
import tempfile
from typing import Any

from dask_k8s_credentials.errors import CredentialsError


class NamedContext(ssl.SSLContext):
    """A context that expects one name, whatever the host in the address is (``tls-server-name``).

    So each HTTP library, WebSockets and what is sent at the interpreter's exit honour it alike.
    """

    expected_name: str | None = None

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        """Begin TLS over memory, as asyncio does."""
        return super().wrap_bio(*args, **self._named(options))

    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
        """Begin TLS over a socket."""
        return super().wrap_socket(*args, **self._named(options))

    def _named(self, options: dict[str, Any]) -> dict[str, Any]:
        return {**options, "server_hostname": self.expected_name} if self.expected_name else options


def context(
    authority: bytes | None = None,
    *,
    certificate: bytes | None = None,
    key: bytes | None = None,
    server_name: str | None = None,
    is_insecure: bool = False,
) -> ssl.SSLContext:
    """Make the context for an API server.

    Parameters
    ----------
    authority : bytes, optional
        Certificates (PEM) to trust instead of the system's.
    certificate, key : bytes, optional
        The client's own (PEM).
    server_name : str, optional
        The name in the API server's certificate, if it isn't the host of its address.
    is_insecure : bool
        Whether to trust anybody.

    Raises
    ------
    CredentialsError
        A certificate or key isn't valid.
    """
    made = NamedContext(ssl.PROTOCOL_TLS_CLIENT)
    made.expected_name = server_name
    made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # An intermediate authority may be the trusted one.
    try:
        if authority:
            made.load_verify_locations(cadata=authority.decode())
        else:
            made.load_default_certs()
    except (ssl.SSLError, UnicodeDecodeError) as error:
        raise CredentialsError(f"The certificate-authority isn't valid PEM: {error}") from error
    if is_insecure:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    if certificate and key:
        _load_client_certificate(made, certificate, key)
    return made


def _load_client_certificate(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    # OpenSSL reads keys from files only, so the file lives for this one call.
    descriptor, name = tempfile.mkstemp(prefix="dask-k8s-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(certificate + b"\n" + key)
        context.load_cert_chain(name)
    except ssl.SSLError as error:
        raise CredentialsError(f"The client certificate or key isn't valid: {error}") from error
    finally:
        os.unlink(name)
