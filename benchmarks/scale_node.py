"""What the benchmarks of scale share: pods without processes, the controller as a process, its counters."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
from prometheus_client.parser import text_string_to_metric_families

from dask_k8s_local import LocalKubernetes
from dask_k8s_models import make_cluster_spec
from dask_k8s_models.crd import custom_resource_definitions
from tests.harness.kube import Kube, Object

CLUSTERS = "daskclusters.kubernetes.dask.org"
GROUPS = "daskworkergroups.kubernetes.dask.org"
NAMESPACE = "default"

WITH_SCHEDULERS = Path(__file__).with_name("controller_process.py")

SAMPLE = re.compile(r"dask_controller_api_requests_total\{(.*)\} (\S+)")
LAG = re.compile(r'dask_controller_loop_lag_seconds_bucket\{le="(.*)"\} (\S+)')


@dataclass
class Controller:
    """The controller's process, seen from outside."""

    url: str
    process: subprocess.Popen[bytes]

    def metrics(self) -> str:
        return httpx.get(f"{self.url}/metrics", timeout=30).text

    def samples(self) -> Iterator[tuple[str, dict[str, str], float]]:
        """Yield all that it counts: name, labels, value."""
        for family in text_string_to_metric_families(self.metrics()):
            for sample in family.samples:
                yield sample.name, sample.labels, sample.value

    def requests(self, *, writes: bool = False) -> float:
        """How many requests it has sent but its watches; its writes only, if so wanted."""
        total = 0.0
        for labels, value in SAMPLE.findall(self.metrics()):
            if not writes or not re.search('verb="(get|list)"', labels):
                total += float(value)
        return total

    def cpu_seconds(self) -> float:
        """How much processor time it has used."""
        found = re.search(r"^process_cpu_seconds_total (\S+)", self.metrics(), re.MULTILINE)
        assert found is not None
        return float(found.group(1))

    def loop_lag(self) -> dict[float, float]:
        """How often its event loop was late by at most so many seconds, by these seconds."""
        return {float(bound): float(count) for bound, count in LAG.findall(self.metrics())}


@contextlib.contextmanager
def kubernetes(
    ready_after: float | tuple[float, float] = 0.0,
) -> Iterator[tuple[LocalKubernetes, Kube]]:
    """A local Kubernetes whose pods become ready without any process, at once or after so many seconds."""
    with (
        LocalKubernetes(addons=(), ready_after=ready_after) as local,
        Kube.from_kubeconfig(local.kubeconfig) as kube,
    ):
        local.apply(custom_resource_definitions())
        yield local, kube


@contextlib.contextmanager
def controller(
    kubeconfig: Path, *, schedulers: str = "", folder: Path | None = None, profile: Path | None = None
) -> Iterator[Controller]:
    """The controller as a process of its own, as soon as it is healthy.

    Parameters
    ----------
    kubeconfig : Path
        Where the Kubernetes is.
    schedulers : str, optional
        URL of a server that stands for all schedulers; by default none of them answers.
    folder : Path, optional
        A checkout whose controller is run instead of this one.
    profile : Path, optional
        Where cProfile writes what it saw; only with ``schedulers``.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    if schedulers:
        environment["SCHEDULERS"] = schedulers
    if profile is not None:
        environment["PROFILE"] = str(profile.absolute())
    if folder is not None:
        environment["PYTHONPATH"] = str(folder)
    liveness = f"--liveness=http://127.0.0.1:{port}/healthz"
    program = [str(WITH_SCHEDULERS)] if schedulers else ["-m", "dask_k8s_controller"]
    command = [sys.executable, *program, "--all-namespaces", "--quiet", liveness]
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        found = Controller(f"http://127.0.0.1:{port}", process)
        deadline = time.monotonic() + 60
        while not is_healthy(found.url):
            assert process.poll() is None, "the controller ended"
            assert time.monotonic() < deadline, "the controller does not start"
            time.sleep(0.05)
        yield found
    finally:
        process.terminate()
        process.wait(30)


def is_healthy(url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"{url}/healthz", timeout=5).is_success
    return False


def cluster(name: str, workers: int) -> Object:
    return make_cluster_spec(name=name, image="daskdev/dask", n_workers=workers)


def is_ready(found: Object) -> bool:
    return any(
        item["type"] == "Ready"
        and item["status"] == "True"
        and item["observedGeneration"] == found["metadata"]["generation"]
        for item in found.get("status", {}).get("conditions", ())
    )


class LoopLag:
    """How late the controller's event loop is while something happens, as it measures itself.

    Other users of the processor are in it.
    """

    def __init__(self, process: Controller) -> None:
        self._process = process
        self.looks: dict[float, float] = {}

    def __enter__(self) -> Self:
        self._before = self._process.loop_lag()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        after = self._process.loop_lag()
        self.looks = {bound: count - self._before[bound] for bound, count in after.items()}

    def stayed_under(self, seconds: float) -> bool:
        """Whether it was never later than one of the histogram's bounds."""
        return self.looks[seconds] == self.looks[float("inf")]

    def __str__(self) -> str:
        every = self.looks[float("inf")]
        bounds = sorted(self.looks)
        typical, longest = (
            next(bound for bound in bounds if self.looks[bound] >= share * every) for share in (0.5, 1)
        )
        return f"event loop late by ≤ {1000 * typical:g} ms half the time, ≤ {1000 * longest:g} ms always"
