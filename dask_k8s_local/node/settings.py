"""What can be set about a node beside what it is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class NodeSettings:
    """Times, failures, and credentials of a node.

    Parameters
    ----------
    back_off_scale : float
        Multiplies kubelet's own waits: the back-off of crashing containers and failing images (10 s, doubled
        up to 300 s), and the time until changed ConfigMaps and Secrets reach mounted volumes (60 s).
    probe_scale : float
        Multiplies the probes' delays and periods; 1 is what the manifests say. Their time limits stay.
    heartbeat_scale : float
        Multiplies the time between two heartbeats (10 s), see `NodeLifecycle`.
    failing_images : tuple of str
        Patterns (as in `fnmatch`) of images that can't be pulled.
    server : str
        The API server's URL, as pods reach it.
    token : str or callable
        The token that pods find as their service account's, or what returns it for the namespace and the name
        of a service account. Empty: pods find no service account.
    ca_pem : bytes
        The certificate authority that signed the API server's certificate.
    environment : mapping
        Variables that every container starts with, as from its image; None: those of this process
        that say where programs and libraries are.
    namespaces : bool
        Whether to use Linux' namespaces where they can be had.
    """

    back_off_scale: float = 1.0
    probe_scale: float = 1.0
    heartbeat_scale: float = 1.0
    failing_images: tuple[str, ...] = ()
    server: str = ""
    token: str | Callable[[str, str], str] = field(default="", repr=False)
    ca_pem: bytes = b""
    environment: Mapping[str, str] | None = None
    namespaces: bool = sys.platform == "linux"
