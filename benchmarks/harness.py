"""What a benchmark is: a function that takes a `Bench` and yields `Figure`s, each of all sides."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from benchmarks.places import Place
    from benchmarks.sides import Side

OURS, BARE, THEIRS = "dask-k8s", "bare", "dask-kubernetes"
Runs = Sequence[float]


@dataclass(frozen=True)
class Figure:
    """Something measured, in every run of every side.

    Parameters
    ----------
    what, unit : str
        What was measured; a unit in whose name less is better, but for rates.
    ours, theirs : sequence of float
        With dask-k8s, and with dask-kubernetes: each run.
    bare : sequence of float
        Without any of them: the same work done by the simplest means.
    goal : float, optional
        What ours, or where there is a bare figure ours by bare, shall not exceed.
    note : str
        What must be known to read it, as why a side has no figure.
    """

    what: str
    unit: str
    ours: Runs = ()
    theirs: Runs = ()
    bare: Runs = ()
    goal: float | None = None
    note: str = ""

    @property
    def by_bare(self) -> float | None:
        """Ours by the bare figure."""
        return ratio(self.ours, self.bare)

    @property
    def by_ours(self) -> float | None:
        """Theirs by ours: how many times as much."""
        return ratio(self.theirs, self.ours)

    @property
    def misses(self) -> bool:
        """Whether it has a goal and misses it."""
        found = self.by_bare if self.bare else middle(self.ours)
        return self.goal is not None and (found is None or found > self.goal)

    def as_json(self) -> dict[str, Any]:
        """Return it with its middles and ratios, without what is empty."""
        runs = {name: [round(run, 4) for run in getattr(self, name)] for name in ("ours", "theirs", "bare")}
        middles = {f"{name}_middle": middle(found) for name, found in runs.items()}
        ratios = {"ours_by_bare": self.by_bare, "theirs_by_ours": self.by_ours}
        rounded = {key: round(value, 4) for key, value in (middles | ratios).items() if value is not None}
        known = {
            key: found
            for key, found in (asdict(self) | runs).items()
            if key in ("what", "unit") or found not in ([], (), "", None)
        }
        return known | rounded | ({"misses": self.misses} if self.goal is not None else {})

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Figure:
        """Return what `as_json` was made of."""
        return cls(**{key: value for key, value in found.items() if key in cls.__dataclass_fields__})


def middle(runs: Runs) -> float | None:
    """Return the mean of what is between the lowest and the highest quarter.

    Of runs that fall into two heaps, as where a probe comes a second earlier or later, the median is now in
    the one and now in the other.
    """
    aside = len(runs) // 4
    return statistics.fmean(sorted(runs)[aside : len(runs) - aside]) if runs else None


def ratio(runs: Runs, others: Runs) -> float | None:
    """Return the ratio of two middles."""
    one, other = middle(runs), middle(others)
    return None if one is None or not other else one / other


@dataclass(frozen=True)
class Curve:
    """How a cost grows: what was measured for each number of something.

    Parameters
    ----------
    what, unit, over : str
        What grows, its unit, and with the number of what.
    ours, theirs : dict
        The measured value by that number.
    """

    what: str
    unit: str
    over: str
    ours: Mapping[int, float] = field(default_factory=dict)
    theirs: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Bench:
    """What a benchmark runs with.

    Attributes
    ----------
    quick : bool
        Whether small numbers will do, to see that it works.
    ours : Side
        This checkout.
    theirs : Side, optional
        dask-kubernetes, if it is measured beside.
    place : callable
        Opens a Kubernetes: ``place(runs_pods=False)`` has pods that become ready without running anything.
    """

    quick: bool
    ours: Side
    theirs: Side | None
    place: Callable[..., AbstractContextManager[Place]]

    @property
    def sides(self) -> list[Side]:
        return [side for side in (self.ours, self.theirs) if side is not None]

    def few(self, number: int, quick: int = 1) -> int:
        """Return a number, or the smaller one for a quick look."""
        return quick if self.quick else number


Found = Figure | Curve
Benchmark = Callable[[Bench], Iterator[Found]]

_benchmarks: dict[str, tuple[str, Benchmark]] = {}


def benchmark(name: str, title: str) -> Callable[[Benchmark], Benchmark]:
    """Register a function as the benchmark of that name."""

    def register(function: Benchmark) -> Benchmark:
        _benchmarks[name] = title, function
        return function

    return register


def benchmarks() -> Mapping[str, tuple[str, Benchmark]]:
    """Return titles and functions by name, in the order in which they run."""
    return _benchmarks


def run(bench: Bench, name: str, tell: Callable[[str], None]) -> dict[str, Any]:
    """Run a benchmark.

    Returns
    -------
    dict
        ``title``, ``seconds``, ``figures`` and ``curves``, and in ``skipped`` why there are none.
    """
    title, function = benchmarks()[name]
    tell(f"{name}: {title}")
    watch, skipped = Stopwatch(), ""
    try:
        found = list(function(bench))
    except NotHere as reason:
        found, skipped = [], str(reason)
    seconds = watch.seconds
    tell(f"  {seconds:.0f} s" + (f", skipped: {skipped}" if skipped else ""))
    return {
        "title": title,
        "seconds": round(seconds, 1),
        "skipped": skipped,
        "figures": [one.as_json() for one in found if isinstance(one, Figure)],
        "curves": [asdict(one) for one in found if isinstance(one, Curve)],
    }


class NotHere(Exception):
    """A benchmark can't be run there, and why."""


@dataclass
class Stopwatch:
    """Seconds since it was made."""

    begin: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.begin


def slope(points: Mapping[int, float]) -> float | None:
    """Return the exponent with which a cost grows: the least-squares slope between the logarithms."""
    usable = [(math.log(number), math.log(value)) for number, value in points.items() if value > 0]
    if len(usable) < 2:
        return None
    return statistics.linear_regression(*zip(*usable, strict=True)).slope
