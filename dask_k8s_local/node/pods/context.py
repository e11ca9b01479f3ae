"""What the pods of one node share."""

from __future__ import annotations

import asyncio
import base64
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from dask_k8s_local.interfaces import Api, Object
from dask_k8s_local.node.amounts import Resources
from dask_k8s_local.node.events import Recorder
from dask_k8s_local.node.network.addresses import AddressBlock
from dask_k8s_local.node.network.names import NameTable
from dask_k8s_local.node.pods.volumes import Files
from dask_k8s_local.node.runtime.client import Runtime
from dask_k8s_local.node.settings import NodeSettings

SITE = Path(__file__).parents[1] / "site"
INHERITED = (
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_CTYPE",
    "LD_LIBRARY_PATH",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TZ",
)
"""Variables that belong to the environment the commands come from, as those of an image would."""


@dataclass(frozen=True)
class NodeContext:
    """A node's means: what it runs processes with, and where."""

    api: Api
    name: str
    settings: NodeSettings
    directory: Path
    addresses: AddressBlock
    names: NameTable
    runtime: Runtime
    events: Recorder
    http: aiohttp.ClientSession
    allocatable: Resources
    connected: asyncio.Event
    """Set while the node can reach the API server."""

    @property
    def scratch(self) -> Path:
        """An empty folder for the supervisor's use."""
        return self.directory / "scratch"

    def image_environment(self, pod_directory: Path) -> dict[str, str]:
        """Return the variables that a container starts with, before its own."""
        given: Mapping[str, str] | None = self.settings.environment
        if given is None:
            given = {name: os.environ[name] for name in INHERITED if name in os.environ}
            # The commands come from the environment of this interpreter.
            programs = os.path.dirname(sys.executable)
            given["PATH"] = os.pathsep.join([programs, os.environ.get("PATH", os.defpath)])
        return {
            **given,
            "HOME": str(pod_directory / "home"),
            "TMPDIR": str(pod_directory / "tmp"),
        }

    def service_account_files(self, pod: Object) -> Files:
        """Return what a pod finds as its service account; nothing if there is none here."""
        namespace = pod["metadata"]["namespace"]
        token = self.settings.token
        if callable(token):
            token = token(namespace, pod["spec"].get("serviceAccountName") or "default")
        if not token:
            return Files()
        return Files(
            {
                "token": (token.encode(), 0o600),
                "ca.crt": (self.settings.ca_pem, 0o644),
                "namespace": (namespace.encode(), 0o644),
            }
        )

    def site_variables(
        self, pod_ip: str, hostname: str, namespace: str, env: Mapping[str, str]
    ) -> dict[str, str]:
        """Return what makes Python processes see the pod's network, see ``site/sitecustomize.py``."""
        own_path = env.get("PYTHONPATH")
        facts = "\n".join([pod_ip, hostname, namespace, self.settings.server, str(self.names.path)])
        return {
            "PYTHONPATH": os.pathsep.join([str(SITE), own_path] if own_path else [str(SITE)]),
            "_POD_NETWORK": base64.b64encode(facts.encode()).decode(),
        }
