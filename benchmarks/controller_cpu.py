"""What starting clusters costs the controller: processor time, memory, requests, reconciles, questions.

Pods run nothing, and one server answers for all schedulers. Run it by
``python -m benchmarks.controller_cpu``; with ``--against FOLDER`` the controller of another checkout is
measured alternately in the same run.
``--profile FILE`` writes what cProfile saw, which itself takes time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.field import a_field, start
from benchmarks.places import local
from benchmarks.sides import PROJECT, Controller, Side, ours

COUNTED = {
    "dask_controller_reconciles_total": ("reconciles", ("kind",)),
    "dask_controller_scheduler_questions_total": ("questions", ("question", "outcome")),
}
"""What is read of the controller's metrics: what it is called here, and the labels by which it is counted."""

READY_AFTER = (0.0, 2.0)
"""Seconds from a pod's binding until it is ready: on a real node they become so one after the other, too."""


def measure(n: int, workers: int, side: Side, profile: Path | None = None) -> dict[str, Any]:
    """Create clusters at once and wait until all are ready.

    Parameters
    ----------
    n, workers : int
        How many clusters, and how many workers each has, besides its scheduler.
    side : Side
        Whose controller is measured.
    profile : Path, optional
        Where cProfile writes what it saw.

    Returns
    -------
    dict
        Processor milliseconds a cluster, the most MB of memory, and per cluster the requests by verb and
        resource, the reconciles by kind, and the questions to schedulers.
    """
    with a_field(side, local(runs_pods=False, ready_after=READY_AFTER), profile) as here:
        before = counts(here.controller)
        found = start(here, here.manifests(n, workers, "cpu"), n * workers)
        after = counts(here.controller)
        requests = Counter({" ".join(key): number for key, number in found.spent.requests.items()})
        return {
            "clusters": n,
            "pods_per_cluster": workers + 1,
            "seconds_until_all_ready": round(found.running, 2),
            "cpu_ms_per_cluster": round(found.spent.cpu * 1000 / n, 2),
            "mb_peak": round(found.spent.peak_megabytes, 1),
            "requests_per_cluster": per(n, requests),
            **{f"{what}_per_cluster": per(n, after[what] - before[what]) for what in after},
        }


def counts(controller: Controller) -> dict[str, Counter[str]]:
    """Count, as the controller's metrics do, its reconciles and its questions to schedulers."""
    found: dict[str, Counter[str]] = {what: Counter() for what, _ in COUNTED.values()}
    for sample in controller.samples():
        if sample.name in COUNTED:
            what, labels = COUNTED[sample.name]
            found[what][" ".join(sample.labels[label] for label in labels)] += int(sample.value)
    return found


def per(n: int, counted: Mapping[str, int]) -> dict[str, float]:
    return {what: round(number / n, 2) for what, number in sorted(counted.items()) if number}


def median(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the run in the middle by processor time, with the range of all."""
    runs = sorted(runs, key=lambda run: run["cpu_ms_per_cluster"])
    spread = [runs[0]["cpu_ms_per_cluster"], runs[-1]["cpu_ms_per_cluster"]]
    return {**runs[len(runs) // 2], "runs": len(runs), "cpu_ms_range": spread}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clusters", type=int, default=100)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--against", type=Path, help="another checkout")
    parser.add_argument("--profile", type=Path)
    arguments = parser.parse_args()
    folders = {"this": PROJECT} | ({"that": arguments.against} if arguments.against else {})
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in folders}
    for _ in range(arguments.runs):
        for name, folder in folders.items():
            runs[name].append(measure(arguments.clusters, arguments.workers, ours(folder), arguments.profile))
    result: dict[str, Any] = {name: median(found) for name, found in runs.items()}
    if arguments.against:
        cpu = {name: statistics.median(run["cpu_ms_per_cluster"] for run in runs[name]) for name in runs}
        result["ratio"] = round(cpu["this"] / cpu["that"], 3)
    print(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
