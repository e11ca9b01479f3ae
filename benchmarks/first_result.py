"""Seconds from ``KubeCluster(n_workers=2)`` to the first result, beside the same processes started by hand.

Both are measured alternately in one run, on the local Kubernetes; what counts is their ratio.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from distributed import Client

from dask_k8s_client import KubeCluster
from dask_k8s_local import LocalKubernetes


def first_result(client: Client) -> None:
    client.wait_for_workers(2, timeout=60)
    assert client.submit(sum, (1, 2, 3)).result(timeout=60) == 6


def kube_cluster() -> None:
    with KubeCluster(name="bench", n_workers=2, quiet=True) as cluster, Client(cluster) as client:
        first_result(client)
        stop_clock()


def by_hand() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    dask = [sys.executable, "-m", "dask"]
    commands = [
        [
            *dask,
            "scheduler",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--dashboard-address",
            "127.0.0.1:0",
        ],
        *[[*dask, "worker", address, "--dashboard-address", "127.0.0.1:0"]] * 2,
    ]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    processes = [subprocess.Popen(command, **quiet) for command in commands]  # type: ignore[call-overload]
    try:
        # A client that tries too early waits longer and longer between its attempts, which would flatter us.
        wait_until_open(port)
        with Client(address, timeout=60) as client:
            first_result(client)
            stop_clock()
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def wait_until_open(port: int, limit: float = 60.0) -> None:
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.01)
    raise TimeoutError(f"nothing listens on port {port} after {limit:g} s")


clock: dict[str, float] = {}


def stop_clock() -> None:
    clock["stopped"] = time.perf_counter()


def seconds(run: Callable[[], None]) -> float:
    started = time.perf_counter()
    run()
    return clock["stopped"] - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    ours: list[float] = []
    plain: list[float] = []
    with LocalKubernetes(), contextlib.suppress(KeyboardInterrupt):
        seconds(kube_cluster)  # the controller is still starting
        for number in range(1, runs + 1):
            ours.append(seconds(kube_cluster))
            plain.append(seconds(by_hand))
            print(f"{number:3}  KubeCluster {ours[-1]:.2f} s   by hand {plain[-1]:.2f} s", flush=True)
    ratio = statistics.median(ours) / statistics.median(plain)
    pairwise = statistics.median(one / other for one, other in zip(ours, plain, strict=False))
    print(
        f"medians of {len(plain)}: KubeCluster {statistics.median(ours):.2f} s, "
        f"by hand {statistics.median(plain):.2f} s, ratio {ratio:.2f}; "
        f"the median of the pairs' ratios is {pairwise:.2f}"
    )


if __name__ == "__main__":
    main()
