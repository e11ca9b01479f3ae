"""Results as tables, for the terminal and for the documentation, and beside those of another run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.harness import BARE, OURS, THEIRS, Figure, slope

Row = tuple[str, ...]
HEADER = ("", OURS, BARE, f"{OURS} / {BARE}", THEIRS, f"{THEIRS} / {OURS}", "goal", "")
LONGEST = 600.0
"""Seconds that a run of all benchmarks may take."""
SPREAD = 0.2
"""By how much a ratio may differ between two runs."""


def rows(result: dict[str, Any]) -> Iterator[Row]:
    """Yield a row for each figure of a benchmark, and for each curve its slopes."""
    for found in result["figures"]:
        figure = Figure.from_json(found)
        unit = f" {figure.unit}" if figure.unit else ""
        yield (
            figure.what,
            value(found.get("ours_middle"), unit),
            value(found.get("bare_middle"), unit),
            value(figure.by_bare, decimals=2),
            value(found.get("theirs_middle"), unit),
            value(figure.by_ours or None, "×"),
            goal(figure),
            figure.note,
        )
    for curve in result["curves"]:
        ours, theirs = (slope(points(curve[side])) for side in ("ours", "theirs"))
        what = f"{curve['what']} over {curve['over']}: slope of the logarithms"
        yield what, value(ours, decimals=2), "", "", value(theirs, decimals=2), "", "", ""


def points(curve: dict[str, float]) -> dict[int, float]:
    """Return a curve's points, whose numbers JSON has made text."""
    return {int(number): found for number, found in curve.items()}


def value(found: float | None, unit: str = "", decimals: int | None = None) -> str:
    """Return a figure as a person reads it: with three digits that count."""
    if found is None:
        return ""
    if decimals is None:
        decimals = 0 if abs(found) >= 100 or found == int(found) else 1 if abs(found) >= 10 else 2
    return f"{found:,.{decimals}f}{unit}"


def goal(figure: Figure) -> str:
    if figure.goal is None:
        return ""
    limit = f"≤ {figure.goal:g}" + (f" of {BARE}" if figure.bare else "")
    return f"**{limit}: missed**" if figure.misses else limit


def used(table: list[Row]) -> list[int]:
    """Return the columns that aren't empty."""
    return [number for number in range(len(HEADER)) if any(row[number] for row in table)]


def markdown(result: dict[str, Any]) -> str:
    """Return a benchmark's table for the documentation."""
    table = list(rows(result))
    columns = used(table)
    lines = [HEADER, tuple("---" if number == 0 else "---:" for number in range(len(HEADER))), *table]
    return "\n".join("| " + " | ".join(line[number] for number in columns) + " |" for line in lines)


def show(results: dict[str, Any]) -> None:
    """Print all tables."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if Console().is_terminal else 150)
    for name, result in results["benchmarks"].items():
        found = list(rows(result))
        table = Table(title=f"{name}: {result['title']}", title_justify="left", title_style="bold")
        columns = used(found)
        for number in columns:
            table.add_column(HEADER[number], justify="left" if number in (0, 7) else "right")
        for row in found:
            table.add_row(*(row[number].replace("**", "") for number in columns))
        console.print(table)
    missed = list(misses(results))
    console.print(f"Goals missed: {'; '.join(missed) if missed else 'none'}")


def total_seconds(results: dict[str, Any]) -> float:
    """Return how long all of it took."""
    return float(sum(result["seconds"] for result in results["benchmarks"].values()))


def misses(results: dict[str, Any]) -> Iterator[str]:
    """Say what misses its goal."""
    if (seconds := total_seconds(results)) > LONGEST:
        yield f"All benchmarks: {seconds:.0f} s, the goal is ≤ {LONGEST:.0f} s"
    for result in results["benchmarks"].values():
        for found in result["figures"]:
            figure = Figure.from_json(found)
            if figure.misses:
                of_bare = f" of {BARE}" if figure.bare else f" {figure.unit}".rstrip()
                reached = value(figure.by_bare if figure.bare else found.get("ours_middle"))
                yield f"{result['title']}, {figure.what}: {reached}{of_bare}, the goal is ≤ {figure.goal:g}"


def differences(results: dict[str, Any], others: dict[str, Any]) -> Iterator[str]:
    """Say which ratios differ between two runs by more than they may."""
    for name, result in results["benchmarks"].items():
        before = {one["what"]: one for one in others["benchmarks"].get(name, {}).get("figures", ())}
        for found in result["figures"]:
            for kind in ("ours_by_bare", "theirs_by_ours"):
                one, other = found.get(kind), before.get(found["what"], {}).get(kind)
                if one and other and not 1 / (1 + SPREAD) <= one / other <= 1 + SPREAD:
                    yield f"{name}, {found['what']}: {kind.replace('_', ' ')} {other:.2f}, now {one:.2f}"
