"""Pictures of the packages and of the controller's layers, from the imports and from pyproject.toml.

`python docs/architecture.py` writes them into docs/architecture.md; with `--check` it fails if they differ.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from itertools import permutations
from pathlib import Path

import grimp

from dask_k8s_models.writing import write_or_check

PROJECT = Path(__file__).parents[1]
PAGE = PROJECT / "docs" / "architecture.md"
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


def picture(boxes: Iterable[str], edges: Edges) -> str:
    arrows = [f"{importer} --> {imported}" for importer, imported in sorted(edges)]
    return "\n    ".join(["flowchart TD", *boxes, *arrows])


def picture_of_packages(graph: grimp.ImportGraph) -> str:
    packages = CONTRACT["root_packages"]
    return picture(packages, imports_between(graph, {package: [package] for package in packages}))


def picture_of_the_controller(graph: grimp.ImportGraph) -> str:
    [layers] = [one["layers"] for one in CONTRACT["contracts"] if one.get("containers") == [CONTROLLER]]
    # Those of one layer may import each other, so they are one box: an order can be drawn.
    rows = [re.split(r"\s*[:|]\s*", layer) for layer in layers]
    boxes = [row[0] if len(row) == 1 else f'{row[0]}["{"<br>".join(row)}"]' for row in rows]
    rooms = {row[0]: [f"{CONTROLLER}.{room}" for room in row] for row in rows}
    return picture(boxes, without_shortcuts(imports_between(graph, rooms)))


def page(text: str) -> str:
    """Return the page with its pictures as they should be."""
    graph = grimp.build_graph(
        *CONTRACT["root_packages"], exclude_type_checking_imports=CONTRACT["exclude_type_checking_imports"]
    )
    for name, drawn in (
        ("packages", picture_of_packages(graph)),
        ("controller", picture_of_the_controller(graph)),
    ):
        block = f"<!-- {name} -->\n```mermaid\n{drawn}\n```\n<!-- /{name} -->"
        found = re.findall(f"<!-- {name} -->.*?<!-- /{name} -->", text, re.DOTALL)
        if len(found) != 1:
            raise SystemExit(f"{PAGE} needs <!-- {name} --> and <!-- /{name} --> once, around its picture.")
        text = text.replace(found[0], block)
    return text


if __name__ == "__main__":
    write_or_check(lambda: {PAGE: page(PAGE.read_text(encoding="utf-8"))}, "python docs/architecture.py")
