"""One namespace does all that it can to harm; another creates, scales and deletes clusters beside it."""

from __future__ import annotations

import contextlib
import itertools
import statistics
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from dask_k8s_controller.settings import Settings
from dask_k8s_local.api import Request
from tests.harness.flows import (
    AUTOSCALERS,
    CLUSTERS,
    GROUPS,
    NAME,
    NOTHING,
    Shape,
    await_shape,
    create,
    manifest,
    of,
    scale,
)
from tests.harness.kube import Kube, Object, Refused
from tests.harness.lab import Lab, Stage

QUOTA = 300
"""Pods that the hostile namespace may have: every namespace of users has a bound."""

SECONDS = 60.0
ROUNDS_ALONE = 6


def a_day_s_work(stage: Stage) -> float:
    """Create a cluster, scale it up and down, delete it; return the seconds that it took.

    How long the garbage collector takes afterwards isn't counted: it isn't the controller's.
    """
    begun = time.monotonic()
    create(2)(stage)
    await_shape(stage, Shape(of(2)), timeout=120)
    for count in (6, 1):
        scale(count)(stage)
        await_shape(stage, Shape(of(count)), timeout=120)
    stage.kube.delete(CLUSTERS, NAME, stage.namespace)
    seconds = time.monotonic() - begun
    await_shape(stage, NOTHING, timeout=120)
    return seconds


class Attack:
    """What one namespace does, all at once, from `__enter__` to `__exit__`.

    Attributes
    ----------
    did : dict
        How often it did what.
    problems : list
        What it did not expect.
    """

    def __init__(self, lab: Lab, namespace: str, health: str) -> None:
        self.lab = lab
        self.kube = lab.kube
        self.namespace = namespace
        self.health = health
        self.did: dict[str, int] = {}
        self.problems: list[BaseException] = []
        self._ends = threading.Event()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Attack:
        self.kube = self._stack.enter_context(Kube.from_kubeconfig(self.lab.kubeconfig))
        self.prepare()
        parts = (
            self.grows,
            self.takes_names,
            self.points_elsewhere,
            self.shakes,
            self.refuses,
            self.looks_healthy,
        )
        self._threads = [threading.Thread(target=self._again_and_again, args=(part,)) for part in parts]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()
        self._stack.close()

    def _again_and_again(self, part: Callable[[int], None]) -> None:
        for number in itertools.count():
            if self._ends.wait(1.0):
                return
            try:
                part(number)
            except Exception as error:
                self.problems.append(error)
                return
            self.did[part.__name__] = number + 1

    def prepare(self) -> None:
        """Two hundred groups of one cluster, thirty clusters whose schedulers never answer, a quota."""
        quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "pods"}}
        self.create({**quota, "spec": {"hard": {"pods": str(QUOTA)}}})
        self.lab.schedulers.silent.add(self.namespace)
        self.create(self.cluster("wide", 0))
        for number in range(200):
            self.create(self.group(f"wide-{number}", "wide"))
        for number in range(30):
            self.create(self.cluster(f"silent-{number}", 2, idleTimeout=1))

    def grows(self, number: int) -> None:
        """As many workers as the schema lets one write, by clusters and autoscalers; scaled down for ever."""
        name = f"huge-{number % 5}"
        self.create(self.cluster(name, 10_000))
        spec = {"cluster": name, "minimum": 10_000, "maximum": 10_000}
        self.create(self.of("DaskAutoscaler", name, spec))
        replicas = {"spec": {"worker": {"replicas": number % 2 + 1}}}
        self.patch(CLUSTERS, f"silent-{number % 30}", replicas)

    def takes_names(self, number: int) -> None:
        """Services and groups of others in the way."""
        name = f"taken-{number % 10}"
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"{name}-scheduler"}}
        self.create({**service, "spec": {"ports": [{"port": 1}]}})
        self.create(self.group(f"{name}-default", "somebody"))
        self.create(self.cluster(name, 1))

    def points_elsewhere(self, number: int) -> None:
        """A Service that leads to others, a prefix that climbs."""
        cluster = self.cluster(f"elsewhere-{number % 5}", 1, idleTimeout=1)
        scheduler = cluster["spec"]["scheduler"]
        container = scheduler["spec"]["containers"][0]
        container["args"] = [*container.get("args", ()), "--dashboard-prefix", "../../../../secrets"]
        self.create(cluster)
        scheduler["service"] = {"type": "ExternalName", "externalName": "10.0.0.1"}
        self.create(cluster)

    def shakes(self, number: int) -> None:
        """Every change of a scheduler's pod concerns two hundred groups."""
        self.patch("pods", "wide-scheduler", {"metadata": {"annotations": {"shaken": str(number)}}})

    def refuses(self, number: int) -> None:
        """The controller's rights in the namespace come and go, with all that it watches there."""
        if number % 20 == 10:
            self.refused = self.lab.faults.fail(403, when=self._looks)
            self.lab.faults.cut_watches()
        if number % 20 == 0 and number:
            self.lab.faults.remove(self.refused)

    def _looks(self, request: Request) -> bool:
        return request.namespace == self.namespace and request.verb in ("list", "watch")

    def looks_healthy(self, number: int) -> None:
        """No attack: whether the controller is well."""
        answer = httpx.get(self.health, timeout=5)
        assert answer.status_code == 200, answer.text

    def create(self, body: Object) -> None:
        try:
            self.kube.create(body, self.namespace)
        except Refused as refused:
            if refused.code not in (403, 409, 422):
                raise

    def patch(self, resource: str, name: str, patch: Object) -> None:
        try:
            self.kube.patch(resource, name, patch, self.namespace)
        except Refused as refused:
            if refused.code != 404:
                raise

    def cluster(self, name: str, workers: int, **spec: object) -> Object:
        body = manifest(workers)
        del body["spec"]["scheduler"]["service"]
        return {**body, "metadata": {"name": name}, "spec": {**body["spec"], **spec}}

    def group(self, name: str, cluster: str) -> Object:
        worker = {**manifest(0)["spec"]["worker"], "replicas": 0}
        return self.of("DaskWorkerGroup", name, {"cluster": cluster, "worker": worker})

    def of(self, kind: str, name: str, spec: Object) -> Object:
        api = "kubernetes.dask.org/v1"
        return {"apiVersion": api, "kind": kind, "metadata": {"name": name}, "spec": spec}


@pytest.fixture
def evil(lab: Lab) -> Iterator[Stage]:
    with lab.stage() as found:
        yield found


@pytest.mark.full
@pytest.mark.timeout(900)
def test_a_hostile_namespace_stops_nobody_and_the_controller_stays_healthy(
    lab: Lab, stage: Stage, evil: Stage, free_port: int
) -> None:
    # The settings that users have: with hasty ones whatever fails is tried again and again.
    settings = Settings(health_port=free_port)
    with lab.controller(evil.namespace, stage.namespace, settings=settings):
        a_day_s_work(stage)  # What is done once only.
        alone = [a_day_s_work(stage) for _ in range(ROUNDS_ALONE)]
        beside: list[float] = []
        with Attack(lab, evil.namespace, f"http://127.0.0.1:{free_port}/healthz") as attack:
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                beside.append(a_day_s_work(stage))
        usual, hindered = statistics.median(alone), statistics.median(beside)
        print(
            f"alone {usual:.2f} s of {len(alone)}, beside {hindered:.2f} s of {len(beside)}: "
            f"{hindered / usual:.2f} times; longest {max(alone):.2f} and {max(beside):.2f} s; {attack.did}"
        )
        assert attack.problems == []
        assert len(attack.did) == 6
        assert beside
        assert hindered <= 1.5 * usual
        for resource in (AUTOSCALERS, CLUSTERS, GROUPS):
            lab.kube.request("DELETE", lab.kube.path(resource, evil.namespace))
