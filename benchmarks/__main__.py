"""``python -m benchmarks``: measures dask-k8s, beside bare means and beside dask-kubernetes."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from benchmarks import (
    autoscaling,
    busy,
    clusters,
    drain,
    encryption,
    first_result,
    imports,
    places,
    port_forward,
    scaling,
    sides,
)
from benchmarks.harness import Bench, benchmarks, run
from benchmarks.report import differences, show, total_seconds

PROJECT = Path(__file__).parents[1]
RESULTS = PROJECT / ".bench"
MODULES = (*(first_result, scaling, clusters, busy, drain, port_forward, imports, encryption, autoscaling),)
"""Each registers its benchmarks, which run in this order of their modules."""

IDLE = 20.0
"""A machine counts as idle when it uses less than so many percent of its processors before all begins."""


def in_order() -> list[str]:
    """Return the names of all benchmarks in the order in which they run."""
    modules = [module.__name__ for module in MODULES]
    return sorted(benchmarks(), key=lambda name: modules.index(benchmarks()[name][1].__module__))


def commit() -> str:
    """Return the commit of this checkout, and whether it has changes; nothing outside of git."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    return subprocess.run(
        command, cwd=sides.PROJECT, capture_output=True, text=True, check=False
    ).stdout.strip()


def about(options: argparse.Namespace, bench: Bench, use: float) -> dict[str, Any]:
    """Describe what is measured, and where."""
    versions = sides.version(bench.ours, "dask-k8s", "distributed")
    if bench.theirs is not None:
        versions |= sides.version(bench.theirs, "dask-kubernetes")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "kubernetes": "the local Kubernetes" if options.kubernetes == "local" else "a Kubernetes cluster",
        "cpus": os.cpu_count(),
        "memory_gb": round(memory / 1e9),
        "python": platform.python_version(),
        "versions": versions,
        "commit": commit(),
        "quick": options.quick,
        "idle": use < IDLE,
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small numbers, to see that all works")
    parser.add_argument(
        "--only",
        action="append",
        choices=[*benchmarks()],
        metavar="NAME",
        help=f"of {', '.join(benchmarks())}",
    )
    parser.add_argument(
        "--kubernetes",
        choices=("local", "current"),
        default="local",
        help="a local Kubernetes (default), or what KUBECONFIG names",
    )
    parser.add_argument("--dask-image", help="image with Dask, which --kubernetes=current needs")
    parser.add_argument(
        "--theirs",
        type=Path,
        metavar="PYTHON",
        help="interpreter of an environment with dask-kubernetes, which is measured beside. On a Kubernetes "
        "that others use, know that its definitions replace ours while it is measured",
    )
    parser.add_argument("--json", type=Path, help="where results go (a new file in .bench)")
    parser.add_argument(
        "--publish", action="store_true", help="bring figures and plots into the documentation"
    )
    options = parser.parse_args()
    if options.kubernetes == "current" and not options.dask_image:
        parser.error("--kubernetes=current needs --dask-image=IMAGE, which its nodes can pull")
    use = psutil.cpu_percent(3)
    if use >= IDLE:
        print(f"Other programs use {use:.0f} % of this machine: seconds will be too long.", flush=True)
    place = places.local if options.kubernetes == "local" else places.current(options.dask_image)
    # Not resolved: an environment's interpreter is a link.
    theirs = sides.theirs(options.theirs.absolute()) if options.theirs else None
    bench = Bench(quick=options.quick, ours=sides.ours(), theirs=theirs, place=place)
    path = options.json or RESULTS / f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%S}.json"
    path.parent.mkdir(exist_ok=True, parents=True)
    before = [one for one in sorted(path.parent.glob("*.json")) if one != path]
    measured: dict[str, Any] = {}
    results = {"about": about(options, bench, use), "benchmarks": measured}
    for name in options.only or in_order():
        measured[name] = run(bench, name, lambda line: print(line, flush=True))
        # After each, so that an error loses no more than the rest.
        path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if theirs and options.kubernetes == "current":
        with place() as here:
            here.apply(bench.ours.definitions())
    show(results)
    print(
        f"{total_seconds(results) / 60:.1f} minutes. The figures of every run are in {os.path.relpath(path)}."
    )
    for earlier in before[-1:]:
        said = list(differences(results, json.loads(earlier.read_text(encoding="utf-8"))))
        print(f"Ratios that differ by more than 20 % from {earlier.name}:", *(said or ["none"]), sep="\n  ")
    if options.publish:
        from benchmarks.publish import publish

        publish(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
