"""Add-ons: what other packages want installed in, and running beside, a local Kubernetes.

A package offers one by an entry point of the group ``dask_k8s_local_addons`` that names a function without
parameters. What it returns is read as an `Addon`, so that the package need not import this one.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from .interfaces import Object
from .node.runtime.client import Runtime
from .node.runtime.command import Command

GROUP = "dask_k8s_local_addons"
LONGEST_PAUSE = 30.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Addon:
    """Manifests to apply, and commands that run as processes with ``KUBECONFIG`` set.

    Parameters
    ----------
    name : str
        What it is called in messages and logs.
    manifests : sequence of dict
        Kubernetes objects, applied in this order before anything else happens.
    commands : sequence of sequence of str
        Each is started once the manifests are applied, started again when it ends by itself, and ended
        with the local Kubernetes.
    """

    name: str
    manifests: tuple[Object, ...] = ()
    commands: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def from_dict(cls, offered: Mapping[str, Any]) -> Addon:
        commands = tuple(tuple(command) for command in offered.get("commands", ()))
        return cls(offered["name"], tuple(offered.get("manifests", ())), commands)


def installed_addons() -> tuple[Addon, ...]:
    """Return the add-ons of all packages installed in this environment."""
    return tuple(Addon.from_dict(entry_point.load()()) for entry_point in entry_points(group=GROUP))


class AddonProcesses:
    """Keeps the commands of add-ons running; their output goes to one log file each.

    Parameters
    ----------
    folder : Path
        Where the logs are written, as ``{addon}.log``.
    environment : mapping
        What is added to the environment of the processes.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = {**os.environ, **environment}
        self._runtime = Runtime(namespaces=False)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, addons: tuple[Addon, ...]) -> None:
        if not any(addon.commands for addon in addons):
            return
        await self._runtime.start()
        for addon in addons:
            for number, command in enumerate(addon.commands):
                name = addon.name if number == 0 else f"{addon.name}-{number + 1}"
                self._tasks.append(
                    asyncio.create_task(self._keep_running(name, command), name=f"addon {name}")
                )

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._runtime.stop()

    async def _keep_running(self, name: str, argv: tuple[str, ...]) -> None:
        pause = 0.5
        while True:
            command = Command(
                argv,
                self._environment,
                cwd=str(Path.cwd()),
                hostname="localhost",
                scratch=str(self._folder),
            )
            log = self._folder / f"{name}.log"
            process = await self._runtime.run(command, log)
            code = await process.wait()
            logger.warning("add-on %s ended with exit code %d, and is started again; see %s", name, code, log)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
