"""A group from 0 to 500, 250 and 0 workers, where pods run nothing: the operator's own work counts."""

from __future__ import annotations

import asyncio
import copy
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.field import Field, a_field
from benchmarks.following import ready
from benchmarks.harness import OURS, Bench, Figure, Found, Stopwatch, benchmark
from benchmarks.sides import GROUPS, Side, Spent, remove
from dask_k8s_controller.settings import Settings
from tests.harness.kube import Kube, Object

PROJECT = Path(__file__).parents[1]
CONCURRENCY = Settings().writes_per_object
LIMIT = 120.0


@benchmark("scaling", "0 → 500 → 250 → 0 workers, on nodes that run nothing")
def scaling(bench: Bench) -> Iterator[Found]:
    """Measure a large group, beside a plain loop of creates, and one that both sides can do in time."""
    large, small = bench.few(500, 20), bench.few(100, 10)
    ours = Samples(bench, bench.ours, large, 1, plain=True)
    steps = f"0 → {large}", f"{large} → {large // 2}", f"{large // 2} → 0"
    yield Figure(f"{steps[0]} workers", "s", ours.seconds[0], bare=ours.plain, note="bare: a loop of creates")
    yield Figure("requests that write, a worker", "", ours.writes[0], goal=1.1, note=steps[0])
    yield Figure(f"controller's CPU, {steps[0]}", "s", ours.cpu[0])
    yield Figure(f"{steps[1]} workers", "s", ours.seconds[1])
    yield Figure(f"{steps[2]} workers", "s", ours.seconds[2])
    mine = Samples(bench, bench.ours, small, bench.few(2))
    other = Samples(bench, bench.theirs, small, bench.few(2)) if bench.theirs else None
    for number, (before, after) in enumerate([(0, small), (small, small // 2), (small // 2, 0)]):
        for what, unit, kind in (
            ("{0} → {1} workers", "s", "seconds"),
            ("requests that write, a worker, {0} → {1}", "", "writes"),
            ("controller's CPU, {0} → {1}", "s", "cpu"),
        ):
            theirs = getattr(other, kind)[number] if other else ()
            yield Figure(what.format(before, after), unit, getattr(mine, kind)[number], theirs)


class Samples:
    """What scaling up, halving and emptying a group takes, each several times.

    Attributes
    ----------
    seconds, writes, cpu : dict
        Runs by step; writes are those of the controller by worker that comes or goes.
    plain : list of float
        The seconds of a plain loop that creates as many pods.
    """

    def __init__(
        self, bench: Bench, side: Side, workers: int, repetitions: int, *, plain: bool = False
    ) -> None:
        self.seconds: dict[int, list[float]] = defaultdict(list)
        self.writes: dict[int, list[float]] = defaultdict(list)
        self.cpu: dict[int, list[float]] = defaultdict(list)
        self.plain: list[float] = []
        with a_field(side, bench.place(runs_pods=False)) as here:
            for number in range(repetitions):
                self._measure(here, f"group-{number}", workers)
                if plain:
                    self.plain.append(_plainly(here, _template(here, f"sample-{number}"), workers))

    def _measure(self, here: Field, name: str, workers: int) -> None:
        place = here.place
        place.kube.create(here.side.cluster(place, name, 0), place.namespace)
        place.kube.wait(GROUPS, f"{name}-default", place.namespace, until=bool)
        here.pods.until(lambda found: ready(found, "scheduler") == 1, LIMIT)
        here.controller.come_to_rest()
        before = 0
        for step, after in enumerate((workers, workers // 2, 0)):
            seconds, spent = _scaled(here, name, after)
            changed = abs(after - before)
            self.seconds[step].append(seconds)
            self.writes[step].append(spent.writes / changed)
            self.cpu[step].append(spent.cpu)
            before = after
        remove(place, name)


def _scaled(here: Field, cluster: str, workers: int) -> tuple[float, Spent]:
    """Scale a cluster's only group; return the seconds until it has so many ready workers, and the cost."""
    with here.controller.spent() as spent:
        watch = Stopwatch()
        # dask-kubernetes' own client writes there; its definitions have the scale subresource, too.
        scale: dict[str, Any] = {"spec": {"replicas": workers}}
        group, namespace = f"{cluster}-default", here.place.namespace
        here.place.kube.patch(GROUPS, group, scale, namespace, subresource="scale")
        if not here.pods.until(lambda found: _workers(found) == (workers, workers), LIMIT):
            raise TimeoutError(f"{here.side.name}: not {workers} workers after {LIMIT:g} s")
        seconds = watch.seconds
    return seconds, spent


def _workers(found: dict[str, dict[str, Any]]) -> tuple[int, int]:
    """Count worker pods, and those that are ready."""
    return sum(pod["component"] == "worker" for pod in found.values()), ready(found)


def _template(here: Field, name: str) -> Object:
    """Return a worker's pod of ours, to be made again without the controller."""
    assert here.side.name == OURS
    place = here.place
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
