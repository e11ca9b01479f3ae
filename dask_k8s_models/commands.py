"""The commands that run Dask: how to find them in a container, their options, and those that were retired."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

RETIRED_COMMANDS = {
    "dask-worker": "dask worker",
    "dask-scheduler": "dask scheduler",
    "dask-ssh": "dask ssh",
}
"""Commands that current images of Dask no longer have, and what replaced them in 2022.10."""


def remedy(words: Iterable[str]) -> str:
    """Say what to use instead of the first of some words that is a retired command; empty if none is.

    Parameters
    ----------
    words : iterable of str
        Such as a command, in whatever folder, and its arguments.
    """
    names = (word.rpartition("/")[2] for word in words if "://" not in word)
    retired = next((name for name in names if name in RETIRED_COMMANDS), None)
    if retired is None:
        return ""
    return f"current images of Dask have no {retired}: use `{RETIRED_COMMANDS[retired]}`, as two words"


def words_of(container: Mapping[str, Any]) -> list[str]:
    """Return the command and the arguments of a container; what is handed to a shell is split as it does.

    Parameters
    ----------
    container : mapping
        A container of a pod spec.
    """
    words = [str(word) for word in (*(container.get("command") or ()), *(container.get("args") or ()))]
    return [part for word in words for part in _split(word)]


def _split(word: str) -> list[str]:
    if not re.search(r"\s", word):
        return [word]
    try:
        return shlex.split(word, comments=True)
    except ValueError:  # Quotes that no shell would take either.
        return word.split()


def runs_dask(container: Mapping[str, Any], component: str) -> bool:
    """Whether a container's command runs a component of Dask, however it is written.

    Parameters
    ----------
    container : mapping
        A container of a pod spec.
    component : str
        ``scheduler`` or ``worker``.
    """
    return bool(_dask(component).search(" ".join(words_of(container))))


def runs_dask_cuda(container: Mapping[str, Any]) -> bool:
    """Whether a container's command starts a worker for each of its GPUs: ``dask cuda worker``.

    Parameters
    ----------
    container : mapping
        A container of a pod spec.
    """
    found = _dask("worker").search(" ".join(words_of(container)))
    return found is not None and "cuda" in found[0]


def _dask(component: str) -> re.Pattern[str]:
    # `dask worker`, `dask-worker`, `dask cuda worker`, `python -m distributed.cli.dask_worker`; any path.
    # A sidecar may name a host that is called so: `http://dask-scheduler:8787` runs nothing.
    return re.compile(rf"(?:^|[\s/.;&|(])dask(?:[ _-]cuda)?[ _-]{component}(?=$|[\s;&|)])")


def option(container: Mapping[str, Any], name: str) -> str | None:
    """Return the value of an option in a container's command; the last one counts, as for Dask itself.

    Parameters
    ----------
    container : mapping
        A container of a pod spec.
    name : str
        The option, e.g. ``--protocol``.
    """
    words = words_of(container)
    found = None
    for index, word in enumerate(words):
        if word == name and index + 1 < len(words):
            found = words[index + 1]
        elif word.startswith(f"{name}="):
            found = word.removeprefix(f"{name}=")
    return found


def has_flag(container: Mapping[str, Any], name: str, opposite: str = "") -> bool:
    """Whether a container's command has a flag, e.g. ``--jupyter``, with its opposite not behind it."""
    given = [word for word in words_of(container) if word in (name, opposite)]
    return given[-1:] == [name]


def variable(container: Mapping[str, Any], setting: str) -> str | None:
    """Return what a container's environment says about one of Dask's settings.

    Parameters
    ----------
    container : mapping
        A container of a pod spec.
    setting : str
        The setting, e.g. ``distributed.comm.default-scheme``:
        https://docs.dask.org/en/stable/configuration.html#environment-variables

    Returns
    -------
    str or None
        None if nothing, or nothing that stands in the pod spec itself.
    """
    wanted = _canonical(setting.replace(".", "__"))
    found = None
    for entry in container.get("env") or ():
        name = str(entry.get("name") or "")
        if name.startswith("DASK_") and _canonical(name.removeprefix("DASK_")) == wanted:
            found = entry.get("value")
    return found


def _canonical(name: str) -> str:
    return name.lower().replace("-", "_")
