"""The commands that write what is generated, or check that it is what it should be."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path


def write_or_check(generated: Callable[[], Mapping[Path, str]], command: str, project: Path = Path()) -> None:
    """Be a command that writes generated files, or with ``--check`` exits with 1 if that would change any.

    Parameters
    ----------
    generated : callable
        Returns the files' contents by path in the project.
    command : str
        What the user runs, for messages.
    project : Path
        The project's folder; by default the current one.
    """
    parser = argparse.ArgumentParser(prog=command, description="Write what is generated.")
    parser.add_argument("--check", action="store_true", help="only exit with 1 if that would change anything")
    arguments = parser.parse_args()
    files = {project / path: content for path, content in generated().items()}
    differing = [
        path
        for path, content in files.items()
        if not path.exists() or path.read_text(encoding="utf-8") != content
    ]
    if arguments.check and differing:
        sys.exit(f"{', '.join(map(str, differing))} differ: run `{command}`")
    for path in differing:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path], encoding="utf-8")
