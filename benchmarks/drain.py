"""``kubectl drain`` of one of two nodes under load: what is lost, and how long it takes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial

from benchmarks.following import is_condition
from benchmarks.harness import Bench, Found, NotHere, Stopwatch, benchmark
from benchmarks.load import CLUSTER, LIMIT, figures, loaded
from benchmarks.places import Place
from benchmarks.sides import Side
from tests.harness.kube import Object

WORKERS = 4
SECONDS = "seconds until 4 workers are elsewhere"


@benchmark("drain", "kubectl drain of one of two nodes, with 40 results in memory and 4 tasks of 3 s running")
def drain(bench: Bench) -> Iterator[Found]:
    """Count executions; what was computed again had been lost."""
    if shutil.which("kubectl") is None:
        raise NotHere("there is no kubectl")
    yield from figures(bench, SECONDS, partial(_drained, bench))


def _drained(bench: Bench, side: Side) -> dict[str, float]:
    with loaded(bench, side, WORKERS, tasks=WORKERS, seconds=3, nodes=2) as load:
        place = load.place
        pods = place.kube.list("pods", place.namespace, f"dask.org/cluster-name={CLUSTER}")
        nodes = {component: _nodes(pods, component) for component in ("scheduler", "worker")}
        node = next((name for name in nodes["worker"] if name not in nodes["scheduler"]), None)
        if node is None:
            raise NotHere("no node has workers without the scheduler")

        def have_moved(found: dict[str, Object]) -> bool:
            return len(found) == WORKERS and all(
                is_condition(pod, "Ready") and pod["spec"]["nodeName"] != node for pod in found.values()
            )

        watch = Stopwatch()
        try:
            kubectl(place, "drain", node, "--pod-selector=dask.org/component=worker", "--timeout=100s")
            workers = {"labelSelector": "dask.org/component=worker"}
            place.kube.wait_all("pods", place.namespace, until=have_moved, timeout=LIMIT, **workers)
            seconds = watch.seconds
        finally:
            kubectl(place, "uncordon", node)
        return {SECONDS: seconds, **load.again()}


def _nodes(pods: list[Object], component: str) -> list[str]:
    return [
        pod["spec"]["nodeName"]
        for pod in pods
        if pod["metadata"]["labels"]["dask.org/component"] == component
    ]


def kubectl(place: Place, *arguments: str) -> None:
    """Run kubectl, which drains as a person does."""
    options = ["--ignore-daemonsets", "--delete-emptydir-data", "--force"] if arguments[0] == "drain" else []
    subprocess.run(
        ["kubectl", *arguments, *options],
        env={**os.environ, "KUBECONFIG": str(place.kubeconfig)},
        check=True,
        capture_output=True,
        timeout=LIMIT,
    )
