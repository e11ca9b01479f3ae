"""The plots of docs/performance.md, readable on light and on dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.ticker import FixedLocator, NullLocator

from benchmarks.harness import BARE, OURS, THEIRS, Figure, slope
from benchmarks.report import points, value

mpl.use("svg")
import matplotlib.pyplot as plt

GREY = "#808890"
COLOURS = {OURS: "#e8782d", THEIRS: "#3f8fd2", BARE: GREY}
STYLE = {
    "axes.edgecolor": GREY,
    "axes.labelcolor": GREY,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "font.family": "sans-serif",
    "font.size": 10,
    "savefig.transparent": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "dask-k8s",
    "text.color": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
}
RATIOS = (
    ("first-result", "beside the same pods, by hand", "first result"),
    ("first-result", "beside it told to forward ports", "first result, told to forward"),
    ("scaling", "0 → 100 → 50 → 0 workers", "0 → 100 → 50 → 0 workers"),
    ("clusters", "100 clusters: all pods ready", "100 clusters at once"),
    ("clusters", "controller's CPU, a cluster", "controller's CPU, a cluster"),
    ("clusters", "controller's peak memory", "controller's memory"),
    ("clusters", "requests that write, a cluster", "writes, a cluster"),
    ("port-forward", "down, a GiB", "forwarded GiB, down"),
    ("imports", "import the controller", "import of the controller"),
)


def draw(results: dict[str, Any], folder: Path) -> None:
    """Write the plots of a run."""
    with plt.style.context(STYLE):
        if "growth" in results["benchmarks"]:
            _save(_growth(results["benchmarks"]["growth"]["curves"]), folder / "performance-growth.svg")
        ratios = list(_ratios(results["benchmarks"]))
        if ratios:
            _save(_bars(ratios), folder / "performance-ratios.svg")


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _growth(curves: list[dict[str, Any]]) -> Any:
    figure, axes = plt.subplots(1, len(curves), figsize=(9, 3.2), sharey=True, squeeze=False)
    for axis, curve in zip(axes[0], curves, strict=True):
        for side, name in (("ours", OURS), ("theirs", THEIRS)):
            found = points(curve[side])
            if found:
                label = f"{name}: slope {value(slope(found), decimals=2)}"
                axis.loglog([*found], [*found.values()], "o-", color=COLOURS[name], label=label)
        numbers = sorted({*points(curve["ours"]), *points(curve["theirs"])})
        _plain(axis.xaxis, numbers if len(numbers) < 6 else numbers[::2])
        axis.set_xlabel(curve["over"])
        axis.grid(color=GREY, alpha=0.25)
        axis.legend(frameon=False, fontsize=8)
    _plain(axes[0][0].yaxis, (0.03, 0.1, 0.3, 1, 3, 10, 30))
    axes[0][0].set_ylabel(f"{curves[0]['what']}, {curves[0]['unit']}")
    return figure


def _plain(axis: Any, numbers: Sequence[float]) -> None:
    """Label a logarithmic axis at these numbers, without powers."""
    limits = axis.get_view_interval()
    axis.set_major_locator(FixedLocator([one for one in numbers if limits[0] <= one <= limits[1]]))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def _ratios(found: dict[str, Any]) -> Any:
    for name, what, label in RATIOS:
        for one in found.get(name, {}).get("figures", ()):
            if one["what"] == what and (times := Figure.from_json(one).by_ours):
                yield label, times


def _bars(ratios: list[tuple[str, float]]) -> Any:
    labels, times = zip(*reversed(ratios), strict=True)
    figure, axis = plt.subplots(figsize=(9, 0.4 * len(ratios) + 0.9))
    axis.barh(labels, times, color=COLOURS[THEIRS], height=0.6)
    for row, one in enumerate(times):
        # Beside the line, too, when the bar ends before it.
        place, text = (max(one, 1), row), f"{value(one)}×"
        axis.annotate(text, place, (5, 0), textcoords="offset points", va="center", color=GREY)
    axis.axvline(1, color=COLOURS[OURS], linewidth=2)
    axis.set_xscale("log")
    axis.set_xlim(left=min(0.5, *times))
    axis.set_xlim(right=1.5 * max(times))
    _plain(axis.xaxis, (0.5, 1, 2, 5, 10, 20, 50))
    axis.set_xlabel(f"{THEIRS} by {OURS} (line): more is slower or costs more")
    return figure
