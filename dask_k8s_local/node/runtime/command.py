"""What the supervisor shall start."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

PATHS_VARIABLE = "_POD_PATHS"


@dataclass(frozen=True)
class Mount:
    """A file or directory of the machine that a process sees at another path."""

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True)
class Command:
    """A process as it shall be started."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    hostname: str
    scratch: str
    mounts: Sequence[Mount] = field(default_factory=tuple)


def without_mounts(command: Command) -> Command:
    """Return a command that finds its mounts as well as may be where the machine offers no namespaces.

    Python processes find them by ``site/_pod_paths.py``. Paths in the command line are replaced, so that
    ``python /scripts/main.py`` finds its script.
    """
    if not command.mounts:
        return command
    facts = "\n".join(path for mount in command.mounts for path in (mount.target.rstrip("/"), mount.source))
    variable = {PATHS_VARIABLE: base64.b64encode(facts.encode()).decode()}
    return replace(
        command,
        argv=[_where(word, command.mounts) for word in command.argv],
        cwd=_where(command.cwd, command.mounts),
        env={**command.env, **variable},
    )


def _where(word: str, mounts: Sequence[Mount]) -> str:
    for mount in sorted(mounts, key=lambda mount: -len(mount.target)):
        target = mount.target.rstrip("/")
        if word == target or word.startswith(target + "/"):
            return mount.source + word[len(target) :]
    return word
