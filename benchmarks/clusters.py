"""Many clusters created at once, what they cost the controller, and what they cost once they are idle."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from benchmarks.controller_cpu import measure
from benchmarks.field import GRACE, LIMIT, Field, a_field, start
from benchmarks.harness import Bench, Curve, Figure, Found, benchmark
from benchmarks.places import local
from benchmarks.sides import GROUPS, Side, asked, remove
from tests.harness.kube import Object


@benchmark("clusters", "100 clusters of 3 workers at once, then idle")
def clusters(bench: Bench) -> Iterator[Found]:
    """Measure both sides at the same number."""
    number, workers, window = bench.few(100, 5), 3, bench.few(12, 2)
    ours, *theirs = (_started_and_idle(bench, side, number, workers, window) for side in bench.sides)

    def values(what: str) -> tuple[list[float], list[float]]:
        return [ours[what]], [found[what] for found in theirs]

    stuck = (
        f"{theirs[0]['stuck']} of dask-kubernetes' were not {GRACE:g} s after their pods"
        if theirs and theirs[0]["stuck"]
        else ""
    )
    yield Figure(f"{number} clusters: all pods ready", "s", *values("pods"))
    running, theirs_running = values("running")
    yield Figure("all clusters Running", "s", running, [] if stuck else theirs_running, note=stuck)
    yield Figure("controller's CPU, a cluster", "ms", *values("cpu"))
    if bench.place is local:
        spread = [measure(number, workers, bench.ours)["cpu_ms_per_cluster"]]
        yield Figure(
            "the same, pods ready one by one",
            "ms",
            spread,
            goal=40,
            note="within 2 s of being bound, at random",
        )
    yield Figure("controller's peak memory", "MB", *values("memory"), goal=120)
    yield Figure("requests without watches, a cluster", "", *values("requests"))
    yield Figure("requests that write, a cluster", "", *values("writes"))
    yield Figure("idle: requests without watches, a minute", "", *values("idle requests"), goal=0)
    yield Figure("idle: controller's CPU, a minute", "s", *values("idle cpu"))
    yield from _requests_by_kind(ours["by kind"], theirs[0]["by kind"] if theirs else Counter(), number)


def _started_and_idle(bench: Bench, side: Side, number: int, workers: int, window: float) -> dict[str, Any]:
    with a_field(side, bench.place(runs_pods=False)) as here:
        found = start(here, here.manifests(number, workers, "many"), number * workers)
        cpu, requests = here.controller.cpu_seconds(), asked(here.place.count())
        time.sleep(window)
        minutes = window / 60
        return {
            "pods": found.pods,
            "running": found.running,
            "stuck": found.stuck,
            "cpu": 1000 * found.spent.cpu / number,
            "memory": found.spent.peak_megabytes,
            "requests": asked(found.spent.requests) / number,
            "writes": found.spent.writes / number,
            "by kind": found.spent.requests,
            "idle requests": (asked(here.place.count()) - requests) / minutes,
            "idle cpu": (here.controller.cpu_seconds() - cpu) / minutes,
        }


def _requests_by_kind(
    ours: Counter[tuple[str, str]], theirs: Counter[tuple[str, str]], number: int
) -> Iterator[Found]:
    kinds = sorted(ours.keys() | theirs.keys(), key=lambda kind: (-ours[kind], -theirs[kind]))
    for verb, resource in kinds:
        mine, other = ours[verb, resource], theirs[verb, resource]
        if verb != "watch" and max(mine, other) >= number / 2:
            name = resource.removesuffix(".kubernetes.dask.org") or "/version"
            name = name.replace(".kubernetes.dask.org/", "/")
            others = [other / number] if theirs else []
            yield Figure(f"{verb} {name}, a cluster", "", [mine / number], others)


@benchmark("thousand", "1,000 clusters of 4 workers at once")
def thousand(bench: Bench) -> Iterator[Found]:
    """Measure once: the API server is busiest here."""
    number, workers = bench.few(1000, 10), 4
    with a_field(bench.ours, bench.place(runs_pods=False)) as here:
        found = start(here, here.manifests(number, workers, "thousand"), number * workers)
    yield Figure(f"{number} × {workers}: all pods ready", "s", [found.pods])
    yield Figure("all clusters Running", "s", [found.running], goal=120, note=f"{found.stuck} were not")
    yield Figure("controller's CPU, a cluster", "ms", [1000 * found.spent.cpu / number])
    yield Figure("controller's peak memory", "MB", [found.spent.peak_megabytes])
    yield Figure("requests that write, a cluster", "", [found.spent.writes / number])


@benchmark("growth", "how the controller's CPU grows with clusters, groups and workers")
def growth(bench: Bench) -> Iterator[Found]:
    """Measure one series of each kind, by one controller a side."""
    series = {
        "clusters": (_clusters, [10, 25, 60], [4, 16]),
        "groups": (_groups, [10, 25, 60], [4, 16]),
        "workers": (_workers, [50, 150, 400], [10, 60]),
    }
    curves: dict[str, dict[str, dict[int, float]]] = {}
    for side in bench.sides:
        with a_field(side, bench.place(runs_pods=False)) as here:
            for what, (measure, ours, theirs) in series.items():
                numbers = (ours if side is bench.ours else theirs)[: bench.few(3, 2)]
                points = {number: measure(here, number) for number in numbers}
                curves.setdefault(what, {})[side.name] = points
    for what, by_side in curves.items():
        ours_, theirs_ = (by_side.get(side.name, {}) for side in (bench.ours, bench.theirs or bench.ours))
        yield Curve("controller's CPU", "s", what, ours_, theirs_ if bench.theirs else {})


def _clusters(here: Field, number: int) -> float:
    prefix = f"c{number}"
    here.controller.come_to_rest()
    cpu = start(here, here.manifests(number, 1, prefix), number).spent.cpu
    remove(here.place, *(f"{prefix}-{one}" for one in range(number)))
    return cpu


def _groups(here: Field, number: int) -> float:
    """Add groups of one worker to a cluster."""
    name = f"g{number}"
    worker = _a_cluster(here, name)["spec"]["worker"]
    with here.controller.spent() as spent:
        for one in range(number):
            group = {
                "apiVersion": "kubernetes.dask.org/v1",
                "kind": "DaskWorkerGroup",
                "metadata": {"name": f"{name}-{one}"},
                "spec": {"cluster": name, "worker": {**worker, "replicas": 1}},
            }
            here.place.kube.create(group, here.place.namespace)
        _await_pods(here, number + 1)
    remove(here.place, name)
    return spent.cpu


def _workers(here: Field, number: int) -> float:
    """Scale a group up."""
    name = f"w{number}"
    _a_cluster(here, name)
    scale: dict[str, Any] = {"spec": {"replicas": number}}
    with here.controller.spent() as spent:
        here.place.kube.patch(GROUPS, f"{name}-default", scale, here.place.namespace, subresource="scale")
        _await_pods(here, number + 1)
    remove(here.place, name)
    return spent.cpu


def _a_cluster(here: Field, name: str) -> Object:
    """Make a cluster without workers, and wait until the controller has nothing more to do."""
    manifest = here.side.cluster(here.place, name, 0)
    here.place.kube.create(manifest, here.place.namespace)
    _await_pods(here, 1)
    here.place.kube.wait(GROUPS, f"{name}-default", here.place.namespace, until=bool)
    here.controller.come_to_rest()
    return manifest


def _await_pods(here: Field, number: int) -> None:
    if not here.pods.until(lambda all_: sum(pod["is_ready"] for pod in all_.values()) >= number, LIMIT):
        raise TimeoutError(f"{here.side.name}: not {number} ready pods after {LIMIT:g} s")
