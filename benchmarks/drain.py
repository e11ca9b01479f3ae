"""``kubectl drain`` of one of two nodes under load: what is lost, and how long it takes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from typing import Any

from distributed import Client, wait

from benchmarks.following import is_condition
from benchmarks.harness import Bench, Figure, Found, NotHere, Stopwatch, benchmark
from benchmarks.places import Place
from benchmarks.sides import Side, controller_in_pod
from dask_k8s_client import KubeCluster
from tests.harness.kube import Object
from tests.harness.worker_tasks import sent_to

WORKERS, RESULTS, SECONDS = 4, 40, 3
LIMIT = 120.0


@benchmark("drain", "kubectl drain of one of two nodes, with 40 results in memory and 4 tasks of 3 s running")
def drain(bench: Bench) -> Iterator[Found]:
    """Count executions; what was computed again had been lost."""
    if shutil.which("kubectl") is None:
        raise NotHere("there is no kubectl")
    found = {side.name: [_drained(bench, side) for _ in range(1)] for side in bench.sides}
    ours, theirs = found[bench.ours.name], found[bench.theirs.name] if bench.theirs else []
    for what, unit, goal in (
        ("seconds until 4 workers are elsewhere", "s", None),
        ("results computed again", "", 0),
        ("tasks that ran again", "", 0),
    ):
        yield Figure(what, unit, [one[what] for one in ours], [one[what] for one in theirs], goal=goal)


def _drained(bench: Bench, side: Side) -> dict[str, float]:
    with bench.place(nodes=2) as place:
        place.apply(side.definitions())
        with controller_in_pod(side, place):
            place.kube.create(side.cluster(place, "moving", WORKERS), place.namespace)
            with (
                KubeCluster.from_name(
                    "moving", namespace=place.namespace, kubeconfig=place.kubeconfig, quiet=True
                ) as cluster,
                Client(cluster) as client,
            ):
                client.wait_for_workers(WORKERS, timeout=LIMIT)
                return _measure(place, client)


def _measure(place: Place, client: Client) -> dict[str, float]:
    tasks = sent_to(client)
    results = client.map(tasks.make, range(RESULTS), pure=False)
    wait(results, timeout=LIMIT)
    running = client.map(tasks.work, range(WORKERS), seconds=SECONDS, pure=False)
    await_begun(client, WORKERS)
    pods = place.kube.list("pods", place.namespace, "dask.org/cluster-name=moving")
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
    client.gather(running)
    assert sorted(number for number, _ in client.gather(results)) == [*range(RESULTS)]
    return {"seconds until 4 workers are elsewhere": seconds, **ran_again(client)}


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


def await_begun(client: Client, number: int) -> None:
    """Wait until so many tasks of some seconds run."""
    watch = Stopwatch()
    while sum(message.startswith("work") for _, message in client.get_events("begun")) < number:
        if watch.seconds > LIMIT:
            raise TimeoutError("the tasks don't begin")


def ran_again(client: Client) -> dict[str, Any]:
    """Count what ran more than once."""
    begun = Counter(message for _, message in client.get_events("begun"))

    def again(kind: str) -> int:
        return sum(count - 1 for name, count in begun.items() if name.startswith(kind))

    return {"results computed again": again("make"), "tasks that ran again": again("work")}
