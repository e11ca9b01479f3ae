"""What the documentation shows: the blocks of its pages, and what is said above those that aren't run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[2]
PAGES = {
    str(path.relative_to(PROJECT)): path.read_text(encoding="utf-8")
    for path in sorted(
        [
            *PROJECT.glob("*.md"),
            *(path for path in (PROJECT / "docs").rglob("*.md") if "_build" not in path.parts),
            *(PROJECT / "chart").glob("*/*.md"),
        ]
    )
}

BLOCK = re.compile(
    r"""
    (?: ^<!--\ (?P<mark>[^\n]*?)\ -->\n+ )?
    ^(?P<fence>```+)(?P<language>[^\n]*)\n
    (?P<text>.*?)
    ^(?P=fence)[ ]*$
    """,
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)


@dataclass(frozen=True)
class Block:
    """A block of code, and the comment above it."""

    page: str
    line: int
    language: str
    text: str
    mark: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def why_not_run(self) -> str:
        """``<!-- not run: … -->``: why nobody can run it, here at least."""
        return self.mark.removeprefix("not run:").strip() if self.mark.startswith("not run:") else ""

    @property
    def run_by(self) -> str:
        """``<!-- run by tests/… -->``: the test that runs it, for what takes more than running it."""
        return self.mark.removeprefix("run by ") if self.mark.startswith("run by ") else ""

    def __iter__(self) -> Iterator[str]:
        """The commands that are shown after a prompt, each with its comment, in one line."""
        for line in self.text.replace("\\\n", " ").splitlines():
            if line.startswith("$ "):
                yield line[2:]


def blocks_of(page: str, *languages: str) -> list[Block]:
    """Return the blocks of a page, in these languages or all."""
    text = PAGES[page]
    return [
        Block(
            page,
            text.count("\n", 0, found.start("fence")) + 1,
            found["language"].strip(),
            found["text"],
            found["mark"] or "",
        )
        for found in BLOCK.finditer(text)
        if not languages or found["language"].strip() in languages
    ]


def blocks(*languages: str) -> list[Block]:
    """Return the blocks of all pages."""
    return [block for page in PAGES for block in blocks_of(page, *languages)]


def python_of(page: str) -> list[str]:
    return [block.text for block in blocks_of(page, "python")]
