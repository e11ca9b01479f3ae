"""The process table: who descends from whom. Standard library only, as the supervisor uses it."""

from __future__ import annotations

import os
from collections.abc import Iterator


class Process:
    """One line of the process table."""

    __slots__ = ("parent", "pid", "session")

    def __init__(self, pid: int, parent: int, session: int) -> None:
        self.pid = pid
        self.parent = parent
        self.session = session


def living() -> dict[int, Process]:
    """Return all processes that aren't zombies, by pid; nothing where there is no ``/proc``."""
    return {process.pid: process for process in _read_all()}


def _read_all() -> Iterator[Process]:
    try:
        names = os.listdir("/proc")
    except OSError:
        return
    for name in names:
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    stat = file.read()
            except OSError:
                continue  # It has ended meanwhile.
            # The command's name stands in parentheses and may itself contain some.
            state, parent, _, session = stat[stat.rindex(b")") + 2 :].split(None, 4)[:4]
            if state not in (b"Z", b"X"):
                yield Process(int(name), int(parent), int(session))


def descendants(of: int) -> list[Process]:
    """Return the living descendants of a process, parents before children."""
    children: dict[int, list[Process]] = {}
    for process in living().values():
        children.setdefault(process.parent, []).append(process)
    found: list[Process] = []
    to_visit = list(children.get(of, ()))
    while to_visit:
        process = to_visit.pop()
        found.append(process)
        to_visit.extend(children.get(process.pid, ()))
    return found


def environment_has(pid: int, entry: bytes) -> bool:
    """Return whether a process was started with an environment entry (``NAME=value``)."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return entry in file.read().split(b"\0")
    except OSError:
        return False
