"""A group from 0 to 500, 250 and 0 workers, where pods run nothing: the operator's own work counts."""

from __future__ import annotations

import asyncio
import copy
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.field import Field, a_field
from benchmarks.following import ready
from benchmarks.harness import OURS, Bench, Figure, Found, Stopwatch, benchmark, middle
from benchmarks.sides import GROUPS, Spent, remove
from dask_k8s_controller.settings import Settings
from tests.harness.kube import Kube, Object

PROJECT = Path(__file__).parents[1]
CONCURRENCY = Settings().writes_per_object
LIMIT = 120.0


@benchmark("scaling", "0 → 500 → 250 → 0 workers, on nodes that run nothing")
def scaling(bench: Bench) -> Iterator[Found]:
    """Measure a large group, beside a plain loop of creates, and one that both sides can do in time."""
    large, small = bench.few(500, 20), bench.few(100, 10)
    plain: list[float] = []
    with a_field(bench.ours, bench.place(runs_pods=False)) as here:
        template = _template(here)
        runs = []
        for number in range(bench.few(2)):
            runs.append(_there_and_back(here, f"many-{number}", large))
            plain.append(_plainly(here, template, large))
        ours = _several(bench, here, small)
    theirs = []
    if bench.theirs is not None:
        with a_field(bench.theirs, bench.place(runs_pods=False)) as here:
            theirs = _several(bench, here, small)
    up, half, empty = zip(*runs, strict=True)
    note = "bare: a loop of creates"
    yield Figure(f"0 → {large} workers", "s", [step.seconds for step in up], bare=plain, note=note)
    writes = [step.spent.writes / large for step in up]
    yield Figure("requests that write, a worker", "", writes, goal=1.1, note=f"0 → {large}")
    yield Figure(f"controller's CPU, 0 → {large}", "s", [step.spent.cpu for step in up])
    yield Figure(f"{large} → {large // 2} workers", "s", [step.seconds for step in half])
    yield Figure(f"{large // 2} → 0 workers", "s", [step.seconds for step in empty])
    way = f"0 → {small} → {small // 2} → 0"
    halved = (middle([half.seconds for _, half, _ in side]) for side in (ours, theirs) if side)
    note = f"{small} → {small // 2} alone: {' and '.join(f'{seconds:.2f} s' for seconds in halved)}"
    yield Figure(f"{way} workers", "s", *_sums(ours, theirs, lambda step: step.seconds), note=note)
    yield Figure(
        "requests that write, by worker that comes or goes",
        "",
        *_sums(ours, theirs, lambda step: step.spent.writes / (2 * small)),
        note=way,
    )
    yield Figure(f"controller's CPU, {way}", "s", *_sums(ours, theirs, lambda step: step.spent.cpu))


@dataclass
class Step:
    """A change of a group's number of workers: seconds until they are ready or gone, and its cost."""

    seconds: float
    spent: Spent


Steps = tuple[Step, Step, Step]


def _sums(ours: list[Steps], theirs: list[Steps], what: Callable[[Step], float]) -> list[list[float]]:
    """Return what all steps of a run take together, for each run of either side."""
    return [[sum(map(what, run)) for run in runs] for runs in (ours, theirs)]


def _several(bench: Bench, here: Field, workers: int) -> list[Steps]:
    return [_there_and_back(here, f"few-{number}", workers) for number in range(bench.few(3))]


def _there_and_back(here: Field, name: str, workers: int) -> Steps:
    """Fill, halve and empty the group of a new cluster of that name."""
    place = here.place
    place.kube.create(here.side.cluster(place, name, 0), place.namespace)
    place.kube.wait(GROUPS, f"{name}-default", place.namespace, until=bool)
    here.pods.until(lambda found: ready(found, "scheduler") == 1, LIMIT)
    here.controller.come_to_rest()
    up, half, empty = (_scaled(here, name, after) for after in (workers, workers // 2, 0))
    remove(place, name)
    return up, half, empty


def _scaled(here: Field, cluster: str, workers: int) -> Step:
    """Scale a cluster's only group, and wait until it has so many ready workers."""
    with here.controller.spent() as spent:
        watch = Stopwatch()
        # dask-kubernetes' own client writes there; its definitions have the scale subresource, too.
        scale: dict[str, Any] = {"spec": {"replicas": workers}}
        group, namespace = f"{cluster}-default", here.place.namespace
        here.place.kube.patch(GROUPS, group, scale, namespace, subresource="scale")
        if not here.pods.until(lambda found: _workers(found) == (workers, workers), LIMIT):
            raise TimeoutError(f"{here.side.name}: not {workers} workers after {LIMIT:g} s")
        seconds = watch.seconds
    return Step(seconds, spent)


def _workers(found: dict[str, dict[str, Any]]) -> tuple[int, int]:
    """Count worker pods, and those that are ready."""
    return sum(pod["component"] == "worker" for pod in found.values()), ready(found)


def _template(here: Field) -> Object:
    """Return a worker's pod of ours, to be made again without the controller."""
    assert here.side.name == OURS
    place, name = here.place, "sample"
    place.kube.create(here.side.cluster(place, name, 1), place.namespace)
    here.pods.until(lambda found: ready(found) == 1, LIMIT)
    (pod,) = place.kube.list("pods", place.namespace, "dask.org/component=worker")
    remove(place, name)
    spec = copy.deepcopy(pod["spec"])
    for key in ("nodeName", "serviceAccount", "serviceAccountName", "tolerations", "volumes"):
        spec.pop(key, None)
    for container in spec["containers"]:
        container.pop("volumeMounts", None)
    labels = {key: value for key, value in pod["metadata"]["labels"].items() if "cluster-name" not in key}
    metadata = {"labels": labels, "annotations": pod["metadata"]["annotations"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": place.fit(spec)}


def _plainly(here: Field, template: Object, count: int) -> float:
    """Return the seconds that a plain loop of creates takes, in a process of its own as well."""
    place = here.place
    arguments = [sys.executable, "-m", "benchmarks.scaling", str(place.kubeconfig), place.namespace]
    with subprocess.Popen(
        [*arguments, str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PROJECT
    ) as loop:
        assert loop.stdin is not None
        assert loop.stdout is not None
        loop.stdin.write(json.dumps(template) + "\n")
        loop.stdin.flush()
        assert loop.stdout.readline() == "ready\n"
        watch = Stopwatch()
        loop.stdin.write("go\n")
        loop.stdin.flush()
        if not here.pods.until(lambda found: ready(found) == count, LIMIT):
            raise TimeoutError(f"the plain loop has not made {count} pods after {LIMIT:g} s")
        seconds = watch.seconds
    place.kube.request("DELETE", Kube.path("pods", place.namespace), json={"gracePeriodSeconds": 0})
    here.pods.until(lambda found: not found, LIMIT)
    return seconds


async def plain(kubeconfig: Path, namespace: str, count: int) -> None:
    """Create pods as fast as aiohttp can, after a line of JSON to make them from and one to begin."""
    import aiohttp
    from kr8s._auth import KubeAuth

    template = json.loads(sys.stdin.readline())
    auth = await KubeAuth(kubeconfig=str(kubeconfig))
    connector = aiohttp.TCPConnector(ssl=await auth.ssl_context(), limit=0)
    slots = asyncio.Semaphore(CONCURRENCY)
    headers = {"Content-Type": "application/json"}
    if auth.token:
        headers["Authorization"] = f"Bearer {auth.token}"
    url = f"{auth.server}/api/v1/namespaces/{namespace}/pods"
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


if __name__ == "__main__":
    asyncio.run(plain(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
