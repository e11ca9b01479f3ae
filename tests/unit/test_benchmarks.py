"""What benchmarks make of what they measure: ratios, tables, plots, and the page with all of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import in_order
from benchmarks.harness import Curve, Figure, NotHere, asdict, benchmark, benchmarks, run, slope
from benchmarks.plots import draw
from benchmarks.publish import FIGURES, PAGE, page
from benchmarks.report import differences, markdown, misses


def results(*figures: Figure, name: str = "first-result") -> dict[str, Any]:
    found = {"title": "a title", "seconds": 1.0, "skipped": "", "curves": []}
    return {"benchmarks": {name: {**found, "figures": [figure.as_json() for figure in figures]}}}


def test_figures_are_compared_by_their_middles() -> None:
    figure = Figure("start", "s", ours=[1.0, 0.1, 9.0, 1.2], theirs=[4.2, 4.6], bare=[1.0])
    assert figure.by_bare == pytest.approx(1.1)
    assert figure.by_ours == pytest.approx(4.0)
    assert Figure.from_json(json.loads(json.dumps(figure.as_json()))) == figure


@pytest.mark.parametrize(
    ("figure", "misses_it"),
    [
        (Figure("", "", ours=[1.2], bare=[1.0], goal=1.25), False),
        (Figure("", "", ours=[1.3], bare=[1.0], goal=1.25), True),
        (Figure("", "", ours=[0], goal=0), False),
        (Figure("", "", ours=[1], goal=0), True),
        (Figure("", "", goal=1), True),
        (Figure("", "", ours=[9]), False),
    ],
)
def test_a_goal_is_a_limit_of_the_ratio_to_bare_means_or_of_ours(figure: Figure, misses_it: bool) -> None:
    assert figure.misses is misses_it
    assert len(list(misses(results(figure)))) == misses_it


def test_a_table_has_the_columns_that_are_used() -> None:
    table = markdown(
        results(Figure("0 → 5", "s", ours=[0.123], theirs=[12.34]))["benchmarks"]["first-result"]
    )
    assert table.splitlines() == [
        "|  | dask-k8s | dask-kubernetes | dask-kubernetes / dask-k8s |",
        "| --- | ---: | ---: | ---: |",
        "| 0 → 5 | 0.12 s | 12.3 s | 100× |",
    ]


def test_a_slope_is_the_exponent_of_the_growth() -> None:
    assert slope({number: 3.0 * number**1.5 for number in (1, 10, 100)}) == pytest.approx(1.5)
    assert slope({1: 1.0}) is None


def test_ratios_that_differ_between_runs_are_told() -> None:
    before, now, soon = (results(Figure("start", "s", ours=[1], theirs=[n])) for n in (4, 4.5, 5))
    assert list(differences(now, before)) == []
    assert list(differences(soon, before)) == ["first-result, start: theirs by ours 4.00, now 5.00"]


def test_a_benchmark_that_cannot_run_there_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.harness._benchmarks", {})

    @benchmark("lonely", "alone")
    def lonely(_: object) -> list[Figure]:
        raise NotHere("there is one node")

    told: list[str] = []
    found = run(None, "lonely", told.append)  # type: ignore[arg-type]
    assert found["skipped"] == "there is one node"
    assert found["figures"] == []
    assert "skipped: there is one node" in told[-1]


def test_the_page_has_a_place_for_each_benchmark_and_its_figures() -> None:
    text = PAGE.read_text(encoding="utf-8")
    published = json.loads(FIGURES.read_text(encoding="utf-8"))
    assert {*in_order()} == {*benchmarks()} == published["benchmarks"].keys()
    assert page(text, published) == text


def test_plots_are_drawn_for_light_and_dark_pages(tmp_path: Path) -> None:
    found = results(Figure("beside the same pods, by hand", "s", ours=[1.0], theirs=[20.0]))
    curve = Curve("controller's CPU", "s", "clusters", {1: 0.1, 10: 1.0}, {1: 0.5})
    found["benchmarks"]["growth"] = {"figures": [], "curves": [json.loads(json.dumps(asdict(curve)))]}
    draw(found, tmp_path)
    ratios, growth = ((tmp_path / f"performance-{name}.svg").read_text() for name in ("ratios", "growth"))
    assert "first result" in ratios
    assert "slope 1.00" in growth
    assert "fill: #ffffff" not in ratios + growth
