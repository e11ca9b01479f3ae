"""The volumes of one pod: made before its containers, kept up to date while they run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dask_k8s_local.interfaces import Object
from dask_k8s_local.node.events import EventLevel
from dask_k8s_local.node.pods.context import NodeContext
from dask_k8s_local.node.pods.environment import PodFacts
from dask_k8s_local.node.pods.volumes import SERVICE_ACCOUNT_PATH, mounts, volume_path, write_atomically
from dask_k8s_local.node.runtime.command import Mount

REDIRECTED = "this machine offers no namespaces: only Python programs of this pod see its volumes"


class PodVolumes:
    """A pod's volumes and its service account, as folders of the machine.

    Parameters
    ----------
    directory : Path
        The pod's own folder.
    """

    def __init__(self, node: NodeContext, directory: Path) -> None:
        self._node = node
        self._volumes = directory / "volumes"
        self._account = directory / "serviceaccount"
        self._paths: dict[str, Path] = {}

    async def make(self, pod: Object, facts: PodFacts) -> None:
        """Make all volumes, or bring them up to date; raise VolumeError if one can't be had."""
        files = self._node.service_account_files(pod)
        if files:
            self._account.mkdir(exist_ok=True)
            write_atomically(self._account, files)
        for volume in pod["spec"].get("volumes") or []:
            path = await volume_path(self._node.api, pod, volume, facts, self._volumes, files)
            self._paths[volume["name"]] = path

    def mounts(self, pod: Object, container: Object, env: Mapping[str, str]) -> list[Mount]:
        """Return what a container mounts; raise ConfigError for what isn't there."""
        found = mounts(container, self._paths, env)
        has_own = any(mount.target == SERVICE_ACCOUNT_PATH for mount in found)
        is_unwanted = pod["spec"].get("automountServiceAccountToken") is False
        if has_own or is_unwanted or not self._account.exists():
            return found
        return [Mount(str(self._account), SERVICE_ACCOUNT_PATH, read_only=True), *found]

    def warnings(self) -> list[tuple[EventLevel, str, str]]:
        """Return what the pod should be told about its volumes: Events' types, reasons and messages."""
        if self._paths and not self._node.runtime.may_mount:
            return [("Warning", "MountsRedirected", REDIRECTED)]
        return []
