"""From 4 workers to 1 while tasks run and results are in memory: what is lost, and what runs twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from distributed import Client, wait

from benchmarks.drain import await_begun, ran_again
from benchmarks.harness import Bench, Figure, Found, Stopwatch, benchmark
from benchmarks.places import Place
from benchmarks.sides import GROUPS, Side, controller_in_pod
from dask_k8s_client import KubeCluster
from tests.harness.worker_tasks import sent_to

RESULTS, LONG, SECONDS = 40, 2, 4
LIMIT = 180.0


@benchmark("busy", "4 → 1 workers with 40 results in memory and 2 tasks of 4 s running")
def busy(bench: Bench) -> Iterator[Found]:
    """Count executions and results; the tasks themselves take 4 s."""
    found = {side.name: [_shrink(bench, side) for _ in range(bench.few(2))] for side in bench.sides}
    ours, theirs = found[bench.ours.name], found[bench.theirs.name] if bench.theirs else []
    for what, unit, goal in (
        ("seconds until one worker is left", "s", None),
        ("tasks that ran again", "", 0),
        ("results computed again", "", 0),
    ):
        yield Figure(what, unit, [one[what] for one in ours], [one[what] for one in theirs], goal=goal)


def _shrink(bench: Bench, side: Side) -> dict[str, float]:
    with bench.place() as place:
        place.apply(side.definitions())
        with controller_in_pod(side, place):
            place.kube.create(side.cluster(place, "busy", 4), place.namespace)
            with (
                KubeCluster.from_name(
                    "busy", namespace=place.namespace, kubeconfig=place.kubeconfig, quiet=True
                ) as cluster,
                Client(cluster) as client,
            ):
                client.wait_for_workers(4, timeout=LIMIT)
                return _measure(place, client)


def _measure(place: Place, client: Client) -> dict[str, float]:
    tasks = sent_to(client)
    results = client.map(tasks.make, range(RESULTS), pure=False)
    wait(results, timeout=LIMIT)
    long = client.map(tasks.work, range(LONG), seconds=SECONDS, pure=False)
    await_begun(client, LONG)
    scale: dict[str, Any] = {"spec": {"replicas": 1}}
    watch = Stopwatch()
    place.kube.patch(GROUPS, "busy-default", scale, place.namespace, subresource="scale")
    place.kube.wait_all(
        "pods",
        place.namespace,
        until=lambda pods: len(pods) == 1,
        timeout=LIMIT,
        labelSelector="dask.org/component=worker",
    )
    seconds = watch.seconds
    assert sorted(client.gather(long)) == [*range(LONG)]
    assert sorted(number for number, _ in client.gather(results)) == [*range(RESULTS)]
    return {"seconds until one worker is left": seconds, **ran_again(client)}
