"""What TLS costs: seconds to the first result, and those of a shuffle, with and without it.

On the local Kubernetes all pods share a machine's processors: encryption takes its time from the tasks.
"""

from __future__ import annotations

from collections.abc import Iterator

import dask.array as da
from distributed import Client, wait

from benchmarks.harness import Bench, Figure, Found, Stopwatch, benchmark
from benchmarks.places import Place
from benchmarks.sides import controller
from dask_k8s_client import KubeCluster

WORKERS = 2
CHUNKS = 16
"""Rows and columns of chunks: each row has something for each column."""


@benchmark("tls", "a first result, and a shuffle between 2 workers, with TLS (bare: without)")
def tls(bench: Bench) -> Iterator[Found]:
    """Measure both in turns."""
    runs, gigabytes = bench.few(3), 0.01 if bench.quick else 0.25
    with bench.place() as place:
        place.apply(bench.ours.definitions())
        with controller(bench.ours, place):
            pairs = [[_measure(place, way, gigabytes) for way in (True, False)] for _ in range(runs)]
    encrypted, plain = (list(zip(*runs_, strict=True)) for runs_ in zip(*pairs, strict=True))
    yield Figure("first result", "s", encrypted[0], bare=plain[0])
    yield Figure(f"shuffle of {1000 * gigabytes:g} MB", "s", encrypted[1], bare=plain[1])


def _measure(place: Place, with_tls: bool, gigabytes: float) -> tuple[float, float]:
    """Return the seconds to the first result, and those of a shuffle."""
    watch = Stopwatch()
    with (
        KubeCluster(
            name="tls" if with_tls else "plain",
            namespace=place.namespace,
            image=place.image,
            kubeconfig=place.kubeconfig,
            n_workers=WORKERS,
            tls=with_tls,
            quiet=True,
        ) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(WORKERS, timeout=120)
        assert client.submit(sum, (1, 2, 3)).result(timeout=120) == 6
        first = watch.seconds
        side = int((gigabytes * 1e9 / 8) ** 0.5)
        table = da.ones((side, side), chunks=(-(-side // CHUNKS), -1)).persist()
        wait(table, timeout=300)
        watch = Stopwatch()
        shuffled = table.rechunk((-1, -(-side // CHUNKS)), method="p2p").persist()
        wait(shuffled, timeout=600)
        return first, watch.seconds
