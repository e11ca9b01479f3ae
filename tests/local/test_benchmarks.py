"""The benchmarks run: with small numbers, and dask-k8s alone."""

from __future__ import annotations

import pytest

from benchmarks.__main__ import in_order
from benchmarks.harness import Bench, Figure, NotHere, benchmarks
from benchmarks.places import local
from benchmarks.sides import ours

EACH_CHANGE = {"port-forward", "scaling"}
"""What is short: one where pods run, one where a server stands for all schedulers."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in EACH_CHANGE else pytest.mark.full) for name in in_order()],
)
def test_a_benchmark_measures_what_it_promises(name: str) -> None:
    _, measure = benchmarks()[name]
    try:
        found = list(measure(Bench(quick=True, ours=ours(), theirs=None, place=local)))
    except NotHere as reason:
        pytest.skip(str(reason))
    assert found
    for one in found:
        assert one.ours, one
        if isinstance(one, Figure) and one.bare:
            assert one.by_bare is not None
            assert one.by_bare > 0
