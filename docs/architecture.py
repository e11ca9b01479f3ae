"""Pictures of the packages and of the controller's layers, from the imports and from pyproject.toml.

`python docs/architecture.py` draws them for docs/architecture.md; with `--check` it fails if they differ.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from itertools import permutations
from pathlib import Path

import grimp

from dask_k8s_models.writing import write_or_check

PROJECT = Path(__file__).parents[1]
IMAGES = PROJECT / "docs" / "images"
CONTROLLER = "dask_k8s_controller"

CONTRACT = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]

Edges = set[tuple[str, str]]


def without_shortcuts(edges: Edges) -> Edges:
    """Leave out each import that a longer way implies."""

    def reaches(start: str, end: str, without: tuple[str, str]) -> bool:
        seen, ahead = {start}, [start]
        while ahead:
            here = ahead.pop()
            found = {to for source, to in edges if source == here and (source, to) != without} - seen
            if end in found:
                return True
            seen |= found
            ahead += found
        return False

    return {edge for edge in edges if not reaches(*edge, without=edge)}


def imports_between(graph: grimp.ImportGraph, rooms: Mapping[str, Iterable[str]]) -> Edges:
    """Return which room imports which: a room is one or several packages with all that is in them."""
    inside = {
        name: {module for package in packages for module in (package, *graph.find_descendants(package))}
        for name, packages in rooms.items()
    }
    return {
        (importer, imported)
        for importer, imported in permutations(rooms, 2)
        for module in inside[importer]
        if inside[imported] & graph.find_modules_directly_imported_by(module)
    }


@dataclass(frozen=True)
class Box:
    """A box of a picture: its lines of text, and where its middle is, in columns and rows."""

    lines: tuple[str, ...]
    column: float
    row: int

    WIDTH, HEIGHT, LINE = 170, 54, 15

    @property
    def x(self) -> float:
        return (self.column + 0.5) * (self.WIDTH + 30)

    @property
    def y(self) -> float:
        return 25 + self.row * (self.HEIGHT + 40)

    @property
    def half(self) -> float:
        """Half of its height."""
        return self.LINE * (len(self.lines) + 1) / 2


def placed(boxes: Mapping[str, tuple[str, ...]], edges: Edges) -> dict[str, Box]:
    """Place each box below all that import it, and in the middle of those that do."""
    found: dict[str, Box] = {}
    for name in TopologicalSorter(
        {box: sorted(importer for importer, imported in edges if imported == box) for box in boxes}
    ).static_order():
        above = [found[importer] for importer, imported in edges if imported == name]
        row = max((box.row + 1 for box in above), default=0)
        column = sum(box.column for box in above) / len(above) if above else 0.0
        taken = {box.column for box in found.values() if box.row == row}
        while any(abs(column - other) < 1 for other in taken):
            column += 1
        found[name] = Box(boxes[name], column, row)
    return found


def picture(boxes: Mapping[str, tuple[str, ...]], edges: Edges) -> str:
    """Draw boxes and arrows, in colours that can be read on light and on dark pages."""
    found = placed(boxes, edges)
    width = max(box.x for box in found.values()) + Box.WIDTH / 2 + 15
    height = max(box.y + box.half for box in found.values()) + 5
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}"'
        ' font-family="monospace" font-size="13" fill="#808890" stroke="none">',
        '<marker id="head" markerWidth="9" markerHeight="9" refX="8" refY="4" orient="auto">'
        '<path d="M0,0 L9,4 L0,8 z"/></marker>',
    ]
    for one, other in ((found[importer], found[imported]) for importer, imported in sorted(edges)):
        ends = f'x1="{one.x:g}" y1="{one.y + one.half:g}" x2="{other.x:g}" y2="{other.y - other.half:g}"'
        drawn.append(f'<line {ends} stroke="#808890" stroke-width="1.3" marker-end="url(#head)"/>')
    for box in found.values():
        drawn.append(
            f'<rect x="{box.x - Box.WIDTH / 2:g}" y="{box.y - box.half:g}" width="{Box.WIDTH}"'
            f' height="{2 * box.half:g}" rx="5" fill="#e2eef9" stroke="#3f8fd2"/>'
        )
        for number, line in enumerate(box.lines):
            y = box.y + Box.LINE * (number - (len(box.lines) - 1) / 2) + 4
            drawn.append(f'<text x="{box.x:g}" y="{y:g}" text-anchor="middle" fill="#1f2933">{line}</text>')
    return "\n".join([*drawn, "</svg>\n"])


def picture_of_packages(graph: grimp.ImportGraph) -> str:
    packages = CONTRACT["root_packages"]
    edges = imports_between(graph, {package: [package] for package in packages})
    return picture({package: (package,) for package in packages}, edges)


def picture_of_the_controller(graph: grimp.ImportGraph) -> str:
    [layers] = [one["layers"] for one in CONTRACT["contracts"] if one.get("containers") == [CONTROLLER]]
    # Those of one layer may import each other, so they are one box: an order can be drawn.
    rows = [tuple(re.split(r"\s*[:|]\s*", layer)) for layer in layers]
    rooms = {row[0]: [f"{CONTROLLER}.{room}" for room in row] for row in rows}
    return picture({row[0]: row for row in rows}, without_shortcuts(imports_between(graph, rooms)))


def pictures() -> dict[Path, str]:
    """Return what is drawn, by file."""
    graph = grimp.build_graph(
        *CONTRACT["root_packages"], exclude_type_checking_imports=CONTRACT["exclude_type_checking_imports"]
    )
    return {
        IMAGES / "architecture-packages.svg": picture_of_packages(graph),
        IMAGES / "architecture-controller.svg": picture_of_the_controller(graph),
    }


if __name__ == "__main__":
    write_or_check(pictures, "python docs/architecture.py")
