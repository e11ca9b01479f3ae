"""A user's program, in the environment of either client: seconds until a first result, by different ways.

A line of JSON on the standard input orders each run, and one with the ``seconds`` answers it, or with the
``error`` that kept it from a result. The ways are ``kube_cluster``, ``bare_pods``, which creates the pods
itself, and ``processes``, which starts scheduler and workers as processes of this machine; the order has a
free ``port`` for these two.
"""

import asyncio
import contextlib
import importlib
import json
import logging
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any

from distributed import Client

Order = dict[str, Any]

WORKERS = 2
LIMIT = 60


def kube_cluster(order: Order) -> Iterator[float]:
    module = importlib.import_module(order["package"])
    with (
        module.KubeCluster(
            custom_cluster_spec=order["cluster"],
            namespace=order["namespace"],
            quiet=True,
            **order.get("options", {}),
        ) as cluster,
        Client(cluster) as client,
    ):
        yield first_result(client)


async def forwarded(order: Order) -> tuple[list[Any], Any]:
    """Create pods and a Service, and forward a port as soon as the scheduler is ready."""
    from kr8s.asyncio.objects import Pod, Service

    *pods, service = order["objects"]
    made = [await Pod(pod, namespace=order["namespace"]) for pod in pods]
    made.append(await Service(service, namespace=order["namespace"]))
    await asyncio.gather(*(one.create() for one in made))
    scheduler = made[0]
    await scheduler.wait("condition=Ready")
    forward = scheduler.portforward(8786, local_port=order["port"])
    await forward.start()
    return made, forward


def bare_pods(order: Order) -> Iterator[float]:
    loop = asyncio.new_event_loop()
    made, forward = loop.run_until_complete(forwarded(order))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        with Client(f"tcp://127.0.0.1:{order['port']}", timeout=LIMIT) as client:
            yield first_result(client)
    finally:

        async def end() -> None:
            await forward.stop()
            for one in made:
                await one.delete(grace_period=0)

        asyncio.run_coroutine_threadsafe(end(), loop).result(LIMIT)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def processes(order: Order) -> Iterator[float]:
    port = order["port"]
    address = f"tcp://127.0.0.1:{port}"
    dask = [sys.executable, "-m", "dask"]
    dashboard = ["--dashboard-address", "127.0.0.1:0"]
    commands = [
        [*dask, "scheduler", "--host", "127.0.0.1", "--port", str(port), *dashboard],
        *[[*dask, "worker", address, *dashboard]] * WORKERS,
    ]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    started = [subprocess.Popen(command, **quiet) for command in commands]  # type: ignore[call-overload]
    try:
        # A client that tries too early waits longer and longer between its attempts, which would flatter us.
        await_port(port)
        with Client(address, timeout=LIMIT) as client:
            yield first_result(client)
    finally:
        # Workers first: they would look for a scheduler that is gone, and take ten seconds to end.
        for process in reversed(started):
            process.terminate()
            process.wait()


def await_port(port: int) -> None:
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.01)
    raise TimeoutError(f"nothing listens on port {port} after {LIMIT} s")


def first_result(client: Client) -> float:
    """Return when the result of a first task is there."""
    client.wait_for_workers(WORKERS, timeout=LIMIT)
    assert client.submit(sum, (1, 2, 3)).result(timeout=LIMIT) == 6
    return time.perf_counter()


WAYS = {"kube_cluster": kube_cluster, "bare_pods": bare_pods, "processes": processes}


def main() -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    for line in sys.stdin:
        order = json.loads(line)
        if order["way"] == "kube_cluster":
            importlib.import_module(order["package"])
        answer = {}
        begin = time.perf_counter()
        try:
            for end in WAYS[order["way"]](order):
                answer["seconds"] = end - begin
        except Exception as error:
            answer.setdefault("error", f"{type(error).__name__}: {error}")
        print("answer", json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
