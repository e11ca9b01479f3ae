"""Figures, plots and tables of docs/performance.md, from the results of a run.

``python -m benchmarks.publish RESULTS`` takes a run's JSON into the documentation; ``--check`` fails if the
page has other tables than docs/performance.json gives.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.report import markdown, misses, total_seconds

DOCS = Path(__file__).parents[1] / "docs"
FIGURES = DOCS / "performance.json"
PAGE = DOCS / "performance.md"
IMAGES = DOCS / "images"


def page(text: str, results: dict[str, Any]) -> str:
    """Return the page with what is generated in it, between comments that name it."""
    made: dict[str, Callable[[], str]] = {
        "machine": lambda: machine(results),
        "misses": lambda: "\n".join(f"- {one}" for one in misses(results)) or "Nothing.",
    }
    for name, result in results["benchmarks"].items():
        made[name] = lambda result=result: f"**{heading(result)}**\n\n{markdown(result)}"  # type: ignore[misc]
    shown = re.findall(r"<!-- figures: (\S+) -->", text)
    if made.keys() != {*shown}:
        differing = ", ".join(sorted(made.keys() ^ {*shown}))
        raise SystemExit(f"either {PAGE.name} has no place for figures, or the run has none: {differing}")
    for name in shown:
        content = f"\n{made[name]()}\n\n"
        head, _, rest = text.partition(f"<!-- figures: {name} -->\n")
        _, end, tail = rest.partition("<!-- end -->")
        text = f"{head}<!-- figures: {name} -->\n{content}{end}{tail}"
    return text


def heading(result: dict[str, Any]) -> str:
    title = str(result["title"])
    return title[0].upper() + title[1:]


def machine(results: dict[str, Any]) -> str:
    """Say when and on what the figures were measured."""
    about = results["about"]
    theirs = about["versions"].get("dask-kubernetes")
    beside = f" and dask-kubernetes {theirs}" if theirs else ""
    commit = f" ({about['commit']})" if about.get("commit") else ""
    size = ", with small numbers (`--quick`)" if about["quick"] else ""
    noise = (
        "" if about["idle"] else ", **while other programs used the processors**: its seconds are too long"
    )
    return (
        f"Measured {about['date']} on {about['kubernetes']}, {about['cpus']} processors, "
        f"{about['memory_gb']} GB of memory, Linux, Python {about['python']}, "
        f"distributed {about['versions']['distributed']}, with dask-k8s {about['versions']['dask-k8s']}"
        f"{commit}{beside}, in {total_seconds(results) / 60:.1f} minutes{size}{noise}."
    )


def publish(path: Path) -> None:
    """Bring a run's figures, tables and plots into the documentation."""
    from benchmarks.plots import draw

    text = path.read_text(encoding="utf-8")
    results = json.loads(text)
    new = page(PAGE.read_text(encoding="utf-8"), results)
    FIGURES.write_text(text, encoding="utf-8")
    PAGE.write_text(new, encoding="utf-8")
    draw(results, IMAGES)


def is_current() -> bool:
    """Whether the page has the figures of docs/performance.json."""
    text = PAGE.read_text(encoding="utf-8")
    return page(text, json.loads(FIGURES.read_text(encoding="utf-8"))) == text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, nargs="?", default=FIGURES)
    parser.add_argument("--check", action="store_true", help="write nothing")
    arguments = parser.parse_args()
    if not arguments.check:
        publish(arguments.results)
    elif not is_current():
        print(f"{PAGE} has other figures than {FIGURES}: python -m benchmarks.publish", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
