# mypy: disallow-untyped-calls=False
"""TLS with a cluster: the certificate from its Secret, in memory, also when it is renewed."""

from __future__ import annotations

import base64
import os
import ssl
import tempfile
from typing import TYPE_CHECKING, Any

from distributed.security import Security

from dask_k8s_client import raw
from dask_k8s_client.errors import ForbiddenError, KubeClusterError, NotFoundError
from dask_k8s_client.resources import SECRETS
from dask_k8s_models import labels

if TYPE_CHECKING:
    from dask_k8s_client.api import Api

Json = dict[str, Any]

PARTS = ("ca.crt", "tls.crt", "tls.key")

RULE = """\
A rule like this in a Role (and a RoleBinding to your account) allows it:
  - apiGroups: [""]
    resources: [secrets]
    resourceNames: [{name}]
    verbs: [get]"""


class NoCertificate(KubeClusterError):
    """The Secret of a cluster that speaks TLS isn't there, or holds no certificate."""


class ClusterSecurity(Security):
    """The security of one cluster, whose connections go on with its next certificate.

    Parameters
    ----------
    secret : str
        The Secret that the certificate is from.
    authority, certificate, key : str
        In PEM.
    """

    def __init__(self, secret: str, authority: str, certificate: str, key: str) -> None:
        self._contexts: dict[str, Json] = {}
        roles = ("client", "scheduler", "worker")
        super().__init__(
            require_encryption=True,
            tls_ca_file=authority,
            **{f"tls_{role}_cert": certificate for role in roles},
            **{f"tls_{role}_key": key for role in roles},
        )
        self.secret = secret
        self._pem = (authority, certificate, key)

    def get_connection_args(self, role: str) -> Json:
        """Return the same for all connections of a role: clients keep it for as long as they live."""
        if role not in self._contexts:
            self._contexts[role] = super().get_connection_args(role)
        return self._contexts[role]

    def renew(self, other: ClusterSecurity) -> None:
        """Take over another certificate, for the next connections of those who have ours."""
        for name in Security.__slots__:
            setattr(self, name, getattr(other, name))
        self.secret, self._pem = other.secret, other._pem
        authority, certificate, key = self._pem
        for arguments in self._contexts.values():
            context: ssl.SSLContext = arguments["ssl_context"]
            context.load_verify_locations(cadata=authority)
            _load(context, certificate, key)

    def __reduce__(self) -> Any:
        return type(self), (self.secret, *self._pem)


def _load(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Load a certificate with its key, which OpenSSL takes from files only: they are gone again at once."""
    with tempfile.TemporaryDirectory() as directory:
        paths = [os.path.join(directory, name) for name in ("certificate", "key")]
        for path, text in zip(paths, (certificate, key), strict=True):
            with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                file.write(text)
        context.load_cert_chain(*paths)


def secret_of(scheduler: Json | None) -> str:
    """Return the Secret that a scheduler's pod speaks TLS with; empty if the controller gave it none."""
    annotations = ((scheduler or {}).get("metadata") or {}).get("annotations") or {}
    return str(annotations.get(labels.TLS_SECRET) or "")


def serves_https(scheduler: Json | None) -> bool:
    """Whether a scheduler's pod serves its dashboard by HTTPS."""
    annotations = ((scheduler or {}).get("metadata") or {}).get("annotations") or {}
    return labels.HTTPS in annotations


def checked(security: Security | Json | None) -> Security:
    """Return what a user gives as ``security``, or what ``dask.config`` says without."""
    if isinstance(security, Security):
        return security
    if security is None or isinstance(security, dict):
        return Security(**(security or {}))
    raise TypeError(
        f"security is {security!r}, it must be a distributed.Security, or a dict of its arguments."
    )


async def current(api: Api, namespace: str, scheduler: Json | None, present: Security) -> Security:
    """Return the security for a scheduler's pod of this moment: the present one, renewed if need be.

    Raises
    ------
    ForbiddenError, NoCertificate
        See `read`.
    """
    name = secret_of(scheduler)
    if not name or getattr(present, "secret", None) == name:
        return present
    try:
        found = await read(api, namespace, name)
    except ForbiddenError:
        if getattr(present, "tls_client_cert", None):
            return present  # In a pod of the cluster's own, whose configuration has it.
        raise
    if not isinstance(present, ClusterSecurity):
        return found
    present.renew(found)
    return present


async def read(api: Api, namespace: str, name: str) -> ClusterSecurity:
    """Read a cluster's certificate and key.

    Raises
    ------
    ForbiddenError
        We may not, with the rule that is missing.
    NoCertificate
        There is none.
    """
    try:
        secret = await raw.get(api, SECRETS.path(namespace, name))
    except ForbiddenError as error:
        message = f"The cluster speaks TLS, and its certificate can't be read: {error}\n"
        raise ForbiddenError(
            message + RULE.format(name=name), error.code, error.reason, error.details
        ) from error
    except NotFoundError as error:
        raise NoCertificate(
            f"The cluster speaks TLS, and its Secret {name} doesn't exist in the namespace {namespace}."
        ) from error
    data = secret.get("data") or {}
    if missing := [part for part in PARTS if not data.get(part)]:
        raise NoCertificate(
            f"The cluster speaks TLS, and its Secret {name} has no {', '.join(missing)}: it must be of the "
            "type kubernetes.io/tls with ca.crt, as cert-manager writes it."
        )
    return ClusterSecurity(name, *(base64.b64decode(data[part]).decode() for part in PARTS))
