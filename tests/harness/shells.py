"""Real shells, and what becomes of a line in them when the user presses Tab."""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UNPACKED = Path(__file__).parents[2] / ".shells"
READY = "ready> "
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

UNPACKED_ZSH = f"""
module_path=({UNPACKED}/usr/lib/*/zsh/*(/))
fpath=({UNPACKED}/usr/share/zsh/functions/**/*(/))
"""
"""Where zsh's own parts are, if they are where ``make shells`` has put them."""

STARTS = {
    "bash": f"PS1='{READY}'",
    "zsh": f"PS1='{READY}'; autoload -Uz compinit && compinit -u -D",
}


def shell_path(name: str) -> str | None:
    """Return the path of a shell, installed or unpacked by ``make shells``."""
    folders = [UNPACKED / "bin", UNPACKED / "usr" / "bin"]
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(map(str, folders)))


class Tab:
    """A shell whose user has followed ``dask kubernetes completion --help``.

    Parameters
    ----------
    shell : str
        bash, zsh or fish.
    path : str
        Where it is.
    folder : Path
        An empty folder: its home.
    """

    def __init__(self, shell: str, path: str, folder: Path) -> None:
        self.shell = shell
        self.path = path
        self.folder = folder
        unpacked = {"LD_LIBRARY_PATH": str(next(UNPACKED.glob("usr/lib/*-linux-gnu"), UNPACKED))}
        self.environment = {
            **os.environ,
            "HOME": str(folder),
            "ZDOTDIR": str(folder),
            "TERM": "dumb",
            **(unpacked if str(UNPACKED) in path else {}),
        }

    def becomes(self, line: str, expected: str) -> str:
        """Return what is shown once a line has been completed to what is expected, or time is up."""
        script = f"dask kubernetes completion {self.shell}"
        if self.shell == "fish":
            commands = f"{script} | source; complete -C {shlex.quote(line)}"
            return subprocess.run(
                [self.path, "-c", commands],
                env=self.environment,
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            ).stdout
        start = self.folder / f".{self.shell}rc"
        start.write_text(f'{STARTS[self.shell]}\neval "$({script})"\n')
        if str(UNPACKED) in self.path:
            (self.folder / ".zshenv").write_text(UNPACKED_ZSH)
        options = ["--rcfile", str(start)] if self.shell == "bash" else []
        with self._terminal([self.path, *options, "-i"]) as terminal:
            typed(terminal, "", READY)
            return typed(terminal, f"{line}\t", expected)

    @contextmanager
    def _terminal(self, command: list[str]) -> Iterator[int]:
        ours, its = pty.openpty()
        process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *command],
            stdin=its,
            stdout=its,
            stderr=its,
            env=self.environment,
        )
        os.close(its)
        try:
            yield ours
        finally:
            os.close(ours)  # Who loses the terminal ends.
            process.wait(timeout=30)


def typed(terminal: int, keys: str, expected: str, limit: float = 30) -> str:
    """Press keys, and return what is shown from then on until it has what is expected, or time is up."""
    os.write(terminal, keys.encode())
    shown, deadline = b"", time.monotonic() + limit
    while expected not in (text := CONTROL.sub("", shown.decode(errors="replace"))):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([terminal], [], [], left)[0]:
            return text
        shown += os.read(terminal, 65536)
    return text
