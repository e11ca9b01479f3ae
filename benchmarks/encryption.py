"""What TLS costs: seconds to the first result, and the throughput of a shuffle, with and without it.

Both are measured in turns in one run, on the local Kubernetes, where scheduler and workers share a machine's
processors: encryption takes its time from the tasks. What counts is the ratio.
"""

from __future__ import annotations

import argparse
import statistics
import time

import dask.array as da
from distributed import Client, wait

from dask_k8s_client import KubeCluster
from dask_k8s_local import LocalKubernetes

WORKERS = 2
CHUNKS = 16
"""Rows and columns of chunks: each row has something for each column."""


def measure(tls: bool, gigabytes: float) -> tuple[float, float]:
    """Return the seconds to the first result, and those of a shuffle that moves so much."""
    begin = time.perf_counter()
    with (
        KubeCluster(name="bench", n_workers=WORKERS, tls=tls, quiet=True) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(WORKERS, timeout=120)
        assert client.submit(sum, (1, 2, 3)).result(timeout=120) == 6
        first = time.perf_counter() - begin
        side = int((gigabytes * 1e9 / 8) ** 0.5)
        table = da.ones((side, side), chunks=(-(-side // CHUNKS), -1)).persist()
        wait(table, timeout=300)
        begin = time.perf_counter()
        shuffled = table.rechunk((-1, -(-side // CHUNKS)), method="p2p").persist()
        wait(shuffled, timeout=600)
        return first, time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--gigabytes", type=float, default=1.0, help="size of what is shuffled")
    options = parser.parse_args()
    found: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    with LocalKubernetes():
        measure(False, 0.01)
        for _ in range(options.rounds):
            for tls in found:
                first, shuffle = measure(tls, options.gigabytes)
                found[tls].append((first, shuffle))
                print(f"TLS {tls!s:5}: first result {first:.2f} s, shuffle {shuffle:.2f} s", flush=True)
    for tls, results in found.items():
        first, shuffle = (statistics.median(values) for values in zip(*results, strict=True))
        rate = options.gigabytes * 1e3 / shuffle
        print(
            f"{'with' if tls else 'without':8} TLS: first result after {first:5.2f} s, "
            f"shuffle of {options.gigabytes:g} GB in {shuffle:5.2f} s, {rate:4.0f} MB/s"
        )


if __name__ == "__main__":
    main()
