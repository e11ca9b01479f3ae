"""TLS to an API server."""

from __future__ import annotations

import os
import socket
import ssl
import tempfile

from dask_k8s_credentials.errors import CredentialsError


class NamedContext(ssl.SSLContext):
    """A context that expects one name, whatever the host in the address is (``tls-server-name``).

    So each HTTP library, WebSockets and what is sent at the interpreter's exit honour it alike.
    """

    expected_name: str | None = None

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Begin TLS over memory, as asyncio does."""
        name = self.expected_name or server_hostname
        return super().wrap_bio(incoming, outgoing, server_side, name, session)

    def wrap_socket(
        self,
        sock: socket.socket,
        server_side: bool = False,
        do_handshake_on_connect: bool = True,
        suppress_ragged_eofs: bool = True,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLSocket:
        """Begin TLS over a socket."""
        name = self.expected_name or server_hostname
        return super().wrap_socket(
            sock, server_side, do_handshake_on_connect, suppress_ragged_eofs, name, session
        )


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
