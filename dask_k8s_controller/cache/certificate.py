"""What is known of a certificate: its public part. The key is in a Secret, which nobody here reads. Pure."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dask_k8s_controller.cache.objects import moment
from dask_k8s_models.scalars import to_time


@dataclass(frozen=True)
class Certificate:
    """A certificate that the controller has made."""

    secret: str
    """The Secret that holds it, with its key."""
    pem: str
    not_after: datetime
    renew_at: datetime
    """When it is to be followed by another."""

    @classmethod
    def of_status(cls, tls: Mapping[str, Any]) -> Certificate | None:
        """Read ``status.tls`` of a cluster; None if the certificate isn't of our making."""
        not_after, renew_at = moment(tls.get("notAfter")), moment(tls.get("renewAt"))
        if not_after is None or renew_at is None or not tls.get("certificate"):
            return None
        return cls(tls["secretName"], tls["certificate"], not_after, renew_at)

    def as_status(self) -> dict[str, str]:
        """Write ``status.tls`` of a cluster."""
        return {
            "secretName": self.secret,
            "certificate": self.pem,
            "notAfter": to_time(self.not_after),
            "renewAt": to_time(self.renew_at),
        }


def fingerprint(pem: str) -> str:
    """Return the SHA-256 digest of a certificate, in hexadecimal digits."""
    lines = pem.partition("-----END")[0].splitlines()
    return hashlib.sha256(base64.b64decode("".join(lines[1:]))).hexdigest()
