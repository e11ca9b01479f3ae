"""Where a scheduler serves HTTP. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Endpoint:
    """Where a scheduler serves HTTP: at its pod's own address, never where a user's Service points to."""

    namespace: str
    uid: str
    """That of its pod: what one scheduler said is not true of its successor."""
    pod: str
    ip: str
    port: int
    prefix: str = ""
    """What precedes all paths."""
    https: str = ""
    """Empty for plain HTTP; else the SHA-256 digest of its certificate, or a word if that isn't known."""
    workers: int = 0
    """How many workers it may tell of: bounds the answers."""

    @property
    def proxy_path(self) -> str:
        """The path under which the API server hands requests on to the scheduler."""
        pod = f"https:{self.pod}" if self.https else self.pod
        return f"/api/v1/namespaces/{self.namespace}/pods/{pod}:{self.port}/proxy{self.prefix}"

    @property
    def direct_url(self) -> str:
        """The URL that only pods of the same Kubernetes cluster can reach."""
        host = f"[{self.ip}]" if ":" in self.ip else self.ip
        return f"{'https' if self.https else 'http'}://{host}:{self.port}{self.prefix}"
