"""What starting clusters costs the controller: processor time, memory, requests, reconciles, events.

Pods run nothing, and one server answers for all schedulers. Processor time is that of the controller alone,
from before the first cluster is created until the last is ready. Run it by
``python -m benchmarks.controller_cpu``; with ``--against FOLDER`` the controller of another checkout is
measured alternately in the same run. ``--profile FILE`` writes what cProfile saw, which itself takes time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.scale_node import CLUSTERS, NAMESPACE, Controller, cluster, controller, is_ready, kubernetes
from dask_k8s_models import labels
from tests.harness.kube import Kube
from tests.harness.schedulers import DaskSchedulers

WATCHED = {
    "pods": {"labelSelector": labels.CLUSTER_NAME},
    "services": {"labelSelector": labels.CLUSTER_NAME},
    CLUSTERS: {},
    "daskworkergroups.kubernetes.dask.org": {},
}
"""What the controller hears of, and here changes: resources with the selectors of its watches."""

COUNTED = ("requests", "reconciles", "questions")

READY_AFTER = (0.0, 2.0)
"""Seconds from a pod's binding until it is ready: on a real node they become so one after the other, too."""


def measure(
    n: int, *, workers: int = 3, folder: Path | None = None, profile: Path | None = None
) -> dict[str, Any]:
    """Create clusters at once and wait until all are ready.

    Parameters
    ----------
    n : int
        How many clusters.
    workers : int
        How many workers each has, besides its scheduler.
    folder : Path, optional
        A checkout whose controller is measured instead of this one.
    profile : Path, optional
        Where cProfile writes what it saw.

    Returns
    -------
    dict
        Processor milliseconds a cluster, MiB of memory before and at most, and per cluster the requests
        by verb and kind, the reconciles by kind, and the watch events by resource.
    """
    with (
        kubernetes(ready_after=READY_AFTER) as (local, kube),
        DaskSchedulers(kube) as schedulers,
        controller(local.kubeconfig, schedulers=schedulers.url, folder=folder, profile=profile) as process,
    ):
        used = psutil.Process(process.process.pid)
        time.sleep(1)  # What it does at its start is no cluster's.
        idle, before, counted = cpu_seconds(used), used.memory_info().rss, counts(process)
        with events(kube, local.kubeconfig) as seen:
            start = time.perf_counter()
            for number in range(n):
                kube.create(cluster(f"cpu-{number}", workers), NAMESPACE)
            kube.wait_all(
                CLUSTERS, NAMESPACE, until=lambda found: all(map(is_ready, found.values())), timeout=600
            )
            seconds = time.perf_counter() - start
            busy, after = cpu_seconds(used), counts(process)
        return {
            "clusters": n,
            "pods_per_cluster": workers + 1,
            "seconds_until_all_ready": round(seconds, 2),
            "cpu_ms_per_cluster": round((busy - idle) * 1000 / n, 2),
            "rss_mib_idle": round(before / 2**20, 1),
            "rss_mib_peak": round(peak_rss(used) / 2**20, 1),
            **{f"{what}_per_cluster": per(n, after[what] - counted[what]) for what in COUNTED},
            "events_per_cluster": per(n, seen),
        }


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def peak_rss(process: psutil.Process) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")))


def counts(process: Controller) -> dict[str, Counter[str]]:
    """Count, as the controller's metrics do, its requests, reconciles, and questions to schedulers."""
    found: dict[str, Counter[str]] = {what: Counter() for what in COUNTED}
    for name, sample, value in process.samples():
        if name == "dask_controller_api_requests_total":
            found["requests"][f"{sample['verb']} {sample['kind']} {sample['code']}"] += value
        elif name == "dask_controller_reconciles_total":
            found["reconciles"][sample["kind"]] += value
        elif name == "dask_controller_scheduler_questions_total":
            found["questions"][f"{sample['question']} {sample['outcome']}"] += value
    return found


@contextmanager
def events(kube: Kube, kubeconfig: Path) -> Iterator[Counter[str]]:
    """Count the events of the controller's watches, by watches of our own."""
    seen: Counter[str] = Counter()

    def count(resource: str, version: str, selection: dict[str, str], watcher: Kube) -> None:
        try:
            for kind, _ in watcher.watch(
                resource, NAMESPACE, timeout=3600, resourceVersion=version, **selection
            ):
                seen[f"{resource.partition('.')[0]} {kind}"] += 1
        except Exception:
            if not ended.is_set():
                raise

    ended = threading.Event()
    with ExitStack() as stack:
        for resource, selection in WATCHED.items():
            watcher = stack.enter_context(Kube.from_kubeconfig(kubeconfig))
            listed = kube.request("GET", kube.path(resource, NAMESPACE), params=selection)
            version = listed["metadata"]["resourceVersion"]
            threading.Thread(target=count, args=(resource, version, selection, watcher), daemon=True).start()
        yield seen
        ended.set()


def per(n: int, counted: Counter[str]) -> dict[str, float]:
    return {what: round(counted[what] / n, 2) for what in sorted(counted) if counted[what]}


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
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    folders = {"this": None} | ({"that": arguments.against} if arguments.against else {})
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in folders}
    for _ in range(arguments.runs):
        for name, folder in folders.items():
            run = measure(
                arguments.clusters, workers=arguments.workers, folder=folder, profile=arguments.profile
            )
            runs[name].append(run)
    result = {name: median(found) for name, found in runs.items()}
    if arguments.against:
        cpu = {name: statistics.median(run["cpu_ms_per_cluster"] for run in runs[name]) for name in runs}
        result["ratio"] = round(cpu["this"] / cpu["that"], 3)
    elif arguments.runs == 1:
        result = result["this"]
    if arguments.json:
        print(json.dumps(result, indent=1))
    else:
        for name, found in result.items():
            print(f"{name}: {json.dumps(found)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
