"""The server's own certificate authority: nobody on this machine can listen in or pose as the server."""

from __future__ import annotations

import ssl

import trustme


class Certificates:
    """A certificate authority and a server certificate, made anew for every server."""

    def __init__(self, *hosts: str) -> None:
        authority = trustme.CA()
        self.ca_pem = authority.cert_pem.bytes()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        authority.issue_cert(*hosts).configure_cert(self.context)
