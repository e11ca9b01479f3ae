"""A group from 0 to 500 workers: seconds, writes, and the same pods made by a plain loop of aiohttp.

Both are measured alternately in one run, on the local Kubernetes with a node that runs no processes, until a
watch has shown the last pod; what counts is their ratio. Run it by ``python -m benchmarks.scale``.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.scale_node import GROUPS, NAMESPACE, Controller, LoopLag, cluster, controller, kubernetes
from dask_k8s_controller.settings import Settings
from tests.harness.kube import Kube, Object

CONCURRENCY = Settings().writes_per_object
MOST_WRITES = 1.1
LONGEST = 1.5
LATEST = 0.1


def by_controller(kube: Kube, process: Controller, count: int) -> tuple[float, float, LoopLag]:
    """Return seconds, writes a worker, and how the event loop lagged."""
    kube.create(cluster("bench", 0), NAMESPACE)
    kube.wait(GROUPS, "bench-default", NAMESPACE, until=lambda group: group.get("status"))
    kube.wait_all("pods", NAMESPACE, until=lambda pods: len(pods) == 1)
    before = settled_writes(process)
    version = version_of(kube)
    with LoopLag(process) as lag:
        start = time.perf_counter()
        scale = {"spec": {"replicas": count}}
        kube.patch(GROUPS, "bench-default", scale, NAMESPACE, subresource="scale")
        await_pods(kube, version, count)
        seconds = time.perf_counter() - start
        kube.wait(
            GROUPS,
            "bench-default",
            NAMESPACE,
            until=lambda group: group["status"].get("readyReplicas") == count,
            timeout=120,
        )
    writes = settled_writes(process) - before
    kube.delete("daskclusters.kubernetes.dask.org", "bench", NAMESPACE)
    kube.wait_all("pods", NAMESPACE, until=lambda pods: not pods, timeout=120)
    return seconds, writes / count, lag


def settled_writes(process: Controller) -> float:
    """How many writes there have been, as soon as there are no more for a second."""
    seen = -1.0
    while (now := process.requests(writes=True)) != seen:
        seen = now
        time.sleep(1)
    return seen


def by_hand(kube: Kube, kubeconfig: Path, template: Object, count: int) -> float:
    """Return the seconds that a plain loop of creates takes, in a process of its own as well."""
    arguments = [
        sys.executable,
        "-m",
        "benchmarks.scale",
        "--plain",
        str(kubeconfig),
        "--workers",
        str(count),
    ]
    loop = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert loop.stdin is not None
    assert loop.stdout is not None
    loop.stdin.write(json.dumps(template) + "\n")
    loop.stdin.flush()
    assert loop.stdout.readline() == "ready\n"
    version = version_of(kube)
    start = time.perf_counter()
    loop.stdin.write("go\n")
    loop.stdin.flush()
    await_pods(kube, version, count)
    seconds = time.perf_counter() - start
    loop.wait(30)
    kube.request("DELETE", Kube.path("pods", NAMESPACE), json={"gracePeriodSeconds": 0})
    kube.wait_all("pods", NAMESPACE, until=lambda pods: not pods, timeout=120)
    return seconds


def version_of(kube: Kube) -> str:
    return str(kube.request("GET", Kube.path("pods", NAMESPACE))["metadata"]["resourceVersion"])


def await_pods(kube: Kube, version: str, count: int) -> None:
    for event, _ in kube.watch("pods", NAMESPACE, resourceVersion=version, timeout=120):
        count -= event == "ADDED"
        if not count:
            return
    raise TimeoutError(f"after 120 s, {count} pods are missing")


async def plain(kubeconfig: Path, count: int) -> None:
    """Create pods as fast as aiohttp can, after a line of JSON to make them from and one to begin."""
    import aiohttp
    from kr8s._auth import KubeAuth

    template = json.loads(sys.stdin.readline())
    auth = await KubeAuth(kubeconfig=str(kubeconfig))
    connector = aiohttp.TCPConnector(ssl=await auth.ssl_context(), limit=0)
    slots = asyncio.Semaphore(CONCURRENCY)
    headers = {"Authorization": f"Bearer {auth.token}", "Content-Type": "application/json"}
    url = f"{auth.server}/api/v1/namespaces/{NAMESPACE}/pods"
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def create(number: int) -> None:
            body = {**template, "metadata": {**template["metadata"], "name": f"plain-{number}"}}
            async with slots, session.post(url, data=json.dumps(body).encode()) as answer:
                text = await answer.text()
                assert answer.status == 201, text

        async with session.get(url) as answer:
            await answer.read()
        print("ready", flush=True)
        sys.stdin.readline()
        await asyncio.gather(*(create(number) for number in range(count)))


def template_of(kube: Kube) -> Object:
    """Return a worker's pod of ours, to be made again without the controller."""
    kube.create(cluster("sample", 1), NAMESPACE)
    pods = kube.wait_all(
        "pods",
        NAMESPACE,
        until=lambda found: len(found) == 1,
        labelSelector="dask.org/component=worker",
    )
    pod = copy.deepcopy(next(iter(pods.values())))
    kube.delete("daskclusters.kubernetes.dask.org", "sample", NAMESPACE)
    kube.wait_all("pods", NAMESPACE, until=lambda found: not found)
    labels = {
        key.replace("dask.org", "plain.test"): value for key, value in pod["metadata"]["labels"].items()
    }
    spec = {
        key: value for key, value in pod["spec"].items() if key in ("containers", "restartPolicy", "volumes")
    }
    metadata = {"labels": labels, "annotations": pod["metadata"]["annotations"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=500)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--plain", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    count: int = arguments.workers
    if arguments.plain:
        asyncio.run(plain(arguments.plain, count))
        return 0
    ours, theirs, writes, lags = [], [], [], []
    with kubernetes() as (local, kube), controller(local.kubeconfig) as process:
        template = template_of(kube)
        for _ in range(arguments.repetitions):
            seconds, per_worker, lag = by_controller(kube, process, count)
            ours.append(seconds)
            writes.append(per_worker)
            lags.append(lag)
            theirs.append(by_hand(kube, local.kubeconfig, template, count))
            print(
                f"0 to {count} workers: {seconds:.2f} s and {per_worker:.3f} writes a worker; "
                f"a plain loop: {theirs[-1]:.2f} s; {lag}"
            )
    ratio = statistics.median(ours) / statistics.median(theirs)
    print(
        f"median ratio {ratio:.2f} (limit {LONGEST}), at most {max(writes):.3f} writes (limit {MOST_WRITES})"
    )
    is_punctual = all(lag.stayed_under(LATEST) for lag in lags)
    return int(ratio > LONGEST or max(writes) > MOST_WRITES or not is_punctual)


if __name__ == "__main__":
    sys.exit(main())
