"""What it takes before anything happens: imports, and the validation of manifests."""

from __future__ import annotations

import resource
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

from benchmarks.harness import Bench, Figure, Found, benchmark
from benchmarks.sides import Side
from dask_k8s_models import DaskCluster, make_cluster_spec, validate_documents

BARE = "from distributed import Client"


@benchmark("imports", "imports and validation, in CPU seconds")
def imports(bench: Bench) -> Iterator[Found]:
    """Measure processor time, as it depends the least on what else the machine does."""
    runs = bench.few(5)
    programs = {
        "import KubeCluster, with distributed": (
            f"{BARE}; from dask_k8s_client import KubeCluster",
            f"{BARE}; from dask_kubernetes.operator import KubeCluster",
        ),
        "import the controller": (
            "import dask_k8s_controller, dask_k8s_controller.operator",
            "import dask_kubernetes.operator.controller",
        ),
    }
    for what, (ours, theirs) in programs.items():
        sides = {"ours": (bench.ours, ours)}
        if bench.theirs:
            sides["theirs"] = bench.theirs, theirs
        if "KubeCluster" in what:
            sides["bare"] = bench.ours, BARE
        note = "bare: distributed alone" if "bare" in sides else ""
        yield Figure(what, "s", **_cpu(sides, runs), note=note)
    models = {"ours": (bench.ours, "import dask_k8s_models")}
    yield Figure("import the models, in Python alone", "s", **_cpu(models, runs))
    cluster = make_cluster_spec(name="valid", n_workers=3)
    yield Figure("validate a DaskCluster", "ms", _repeated(lambda: DaskCluster.model_validate(cluster), runs))
    text = yaml.safe_dump(cluster)
    yield Figure(
        "validate a YAML document of it", "ms", _repeated(lambda: list(validate_documents(text)), runs)
    )


def _cpu(sides: dict[str, tuple[Side, str]], runs: int) -> dict[str, list[float]]:
    """Return the processor seconds of processes that run programs in turns; the first, which compile, not."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(runs + 1):
        for name, (side, program) in sides.items():
            found[name].append(_cpu_once(side.python, program))
    return {name: seconds[1:] for name, seconds in found.items()}


def _cpu_once(python: Path, program: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([python, "-W", "ignore", "-c", program], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _repeated(act: object, runs: int, times: int = 200) -> list[float]:
    found = []
    for _ in range(runs):
        begin = time.process_time()
        for _ in range(times):
            act()  # type: ignore[operator]
        found.append(1000 * (time.process_time() - begin) / times)
    return found
