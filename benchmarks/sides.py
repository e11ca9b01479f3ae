"""Who is measured: dask-k8s of this checkout, and dask-kubernetes in an environment of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from benchmarks.following import is_condition
from benchmarks.harness import OURS, THEIRS
from benchmarks.places import Place, Requests
from dask_k8s_models import make_cluster_spec
from dask_k8s_models.crd import custom_resource_definitions
from tests.harness.accounts import grant_everywhere
from tests.harness.kube import Object
from tests.harness.ports import reserved_port

CLUSTERS = "daskclusters.kubernetes.dask.org"
GROUPS = "daskworkergroups.kubernetes.dask.org"
NAMES = Path(__file__).parent / "names"
PROJECT = Path(__file__).parents[1]
WITH_SCHEDULERS = Path(__file__).with_name("controller_process.py")

THEIR_DEFINITIONS = """
import pathlib, dask_kubernetes
folder = pathlib.Path(dask_kubernetes.__file__).parent / "operator/deployment/helm"
for file in sorted(folder.glob("dask-kubernetes-operator/crds/*.yaml")):
    print("---", file.read_text(), sep="\\n")
"""


@dataclass(frozen=True)
class Side:
    """An operator with its client.

    Attributes
    ----------
    name : str
        What it is called.
    python : Path
        The interpreter of its environment.
    package : str
        What its ``KubeCluster`` is imported from.
    command : tuple of str
        Arguments of the interpreter that run its controller.
    definitions : callable
        Returns its custom resource definitions.
    is_running : callable
        Whether a DaskCluster has come to where its client takes it for running.
    given : callable
        Changes what it refuses in a manifest.
    folder : Path
        The checkout whose controller runs, if it is ours.
    """

    name: str
    python: Path
    package: str
    command: tuple[str, ...]
    definitions: Callable[[], list[Object]]
    is_running: Callable[[Object], bool]
    given: Callable[[Object], Object] = field(default=lambda manifest: manifest)
    folder: Path = PROJECT

    def cluster(self, place: Place, name: str, workers: int, **metadata: Any) -> Object:
        """Return a manifest of a DaskCluster, the same for both but for what one of them refuses."""
        manifest = self.given(make_cluster_spec(name=name, image=place.image, n_workers=workers))
        for component in ("scheduler", "worker"):
            manifest["spec"][component]["spec"] = place.fit(manifest["spec"][component]["spec"])
        manifest["metadata"].update(metadata)
        return manifest


def ours(folder: Path = PROJECT) -> Side:
    """Return dask-k8s of this checkout, but for its controller perhaps."""
    return Side(
        name=OURS,
        python=Path(sys.executable),
        package="dask_k8s_client",
        command=("-m", "dask_k8s_controller"),
        definitions=custom_resource_definitions,
        is_running=lambda found: is_condition(found, "Ready"),
        folder=folder.absolute(),
    )


def theirs(python: Path) -> Side:
    """Return dask-kubernetes in the environment of that interpreter."""

    def definitions() -> list[Object]:
        told = subprocess.run([python, "-c", THEIR_DEFINITIONS], capture_output=True, text=True, check=True)
        return [document for document in yaml.safe_load_all(told.stdout) if document]

    def given(manifest: Object) -> Object:
        del manifest["spec"]["worker"]["spec"]["containers"][0]["env"]  # It refuses an empty list.
        return manifest

    return Side(
        name=THEIRS,
        python=python,
        package="dask_kubernetes.operator",
        command=("-m", "kopf", "run", "-m", "dask_kubernetes.operator.controller"),
        definitions=definitions,
        is_running=lambda found: found.get("status", {}).get("phase") == "Running",
        given=given,
    )


def version(side: Side, *packages: str) -> dict[str, str]:
    """Return the versions of packages in a side's environment."""
    code = "import json, sys; from importlib.metadata import version"
    code += "; print(json.dumps({name: version(name) for name in sys.argv[1:]}))"
    told = subprocess.run(
        [side.python, "-c", code, *packages], capture_output=True, text=True, check=True
    ).stdout
    found: dict[str, str] = json.loads(told)
    return found


@dataclass
class Controller:
    """A controller's process, seen from outside."""

    place: Place
    process: psutil.Process
    url: str

    def samples(self) -> Iterator[Sample]:
        """Yield all that our controller counts."""
        for family in text_string_to_metric_families(httpx.get(f"{self.url}/metrics", timeout=30).text):
            yield from family.samples

    def cpu_seconds(self) -> float:
        """How much processor time it has used; its clock has the number that `clock_getcpuclockid` makes."""
        return time.clock_gettime((~self.process.pid << 3) | 2)

    def peak_megabytes(self) -> float:
        """The most memory that it has had, in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e6

    def come_to_rest(self, quiet: float = 0.7, limit: float = 60.0) -> None:
        """Wait until it has sent no request but for watches for a while."""
        deadline = time.monotonic() + limit
        seen = None
        while (now := asked(self.place.count())) != seen and time.monotonic() < deadline:
            seen = now
            time.sleep(quiet)

    @contextlib.contextmanager
    def spent(self) -> Iterator[Spent]:
        """Measure what it spends until the end, and until it has come to rest."""
        cpu, requests = self.cpu_seconds(), self.place.count()
        found = Spent()
        yield found
        self.come_to_rest()
        found.cpu = self.cpu_seconds() - cpu
        found.requests = self.place.count() - requests
        found.peak_megabytes = self.peak_megabytes()


@dataclass
class Spent:
    """Processor seconds, memory and requests of a controller."""

    cpu: float = 0.0
    peak_megabytes: float = 0.0
    requests: Requests = field(default_factory=Counter)

    @property
    def writes(self) -> int:
        return sum(
            count for (verb, _), count in self.requests.items() if verb not in ("get", "list", "watch")
        )


def asked(requests: Requests) -> int:
    """Count requests without watches."""
    return sum(count for (verb, _), count in requests.items() if verb != "watch")


@contextlib.contextmanager
def controller(
    side: Side, place: Place, schedulers: str = "", profile: Path | None = None
) -> Iterator[Controller]:
    """Run a side's controller beside the cluster, from when it has made a first cluster.

    Parameters
    ----------
    schedulers : str, optional
        Host and port of the server that answers for all schedulers, where pods run nothing.
    profile : Path, optional
        Where cProfile writes what it saw of ours, with such a server.
    """
    with reserved_port() as port:
        environment = {**os.environ, "KUBECONFIG": str(place.counted), "SCHEDULERS": f"http://{schedulers}"}
        command = list(side.command)
        if schedulers and side.name == OURS:
            command = [str(WITH_SCHEDULERS)]
            environment["PYTHONPATH"] = str(side.folder)
            if profile is not None:
                environment["PROFILE"] = str(profile.absolute())
        elif schedulers:
            environment["PYTHONPATH"] = str(NAMES)
        # Of a Kubernetes that others use as well, it sees the benchmark's part.
        scope = "--all-namespaces" if place.local else f"--namespace={place.namespace}"
        url = f"http://127.0.0.1:{port}"
        health = f"{url}/healthz"
        process = subprocess.Popen(
            [side.python, *command, scope, "--quiet", f"--liveness={health}"],
            env=environment,
            cwd=side.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _await_health(process, health)
            found = Controller(place, psutil.Process(process.pid), url)
            warm_up(side, place)
            found.come_to_rest()
            yield found
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def controller_in_pod(side: Side, place: Place) -> Iterator[None]:
    """Run a side's controller as it is installed, in a pod, where it reaches schedulers by their names.

    Only the local Kubernetes runs programs of this machine in its pods; elsewhere it runs beside.
    """
    if place.local is None:
        with controller(side, place):
            yield
        return
    name, everything = "operator", [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
    place.kube.apply(account, place.namespace)
    grant_everywhere(place.kube, name, everything, {"name": name, "namespace": place.namespace})
    container = {
        "name": name,
        "image": name,
        "command": [str(side.python), *side.command, "--all-namespaces", "--quiet"],
        "env": [{"name": "PYTHONPATH", "value": str(PROJECT)}],
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"serviceAccountName": name, "containers": [container]},
    }
    place.kube.create(pod, place.namespace)
    place.kube.wait("pods", name, place.namespace, until=lambda found: is_condition(found, "Ready"))
    warm_up(side, place)
    yield


def _await_health(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url, timeout=5).is_success:
                return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the controller does not start")
        time.sleep(0.05)


def warm_up(side: Side, place: Place) -> None:
    """Have the controller make a cluster, and take it away: its start is nobody's cost."""
    for attempt in range(15):
        name = f"warm-up-{attempt}"
        place.kube.create(side.cluster(place, name, 0), place.namespace)
        with contextlib.suppress(TimeoutError):
            place.kube.wait(CLUSTERS, name, place.namespace, until=_has_phase, timeout=3)
            remove(place, name)
            return
        remove(place, name)
    raise RuntimeError(f"the controller of {side.name} does nothing")


def _has_phase(found: Object) -> bool:
    return found.get("status", {}).get("phase") in ("Pending", "Running")


def remove(place: Place, *clusters: str, limit: float = 120.0) -> None:
    """Delete clusters, and wait until nothing of them is left."""
    for name in clusters:
        place.kube.delete(CLUSTERS, name, place.namespace)
    place.kube.wait_all(CLUSTERS, place.namespace, until=lambda found: not {*clusters} & {*found})
    for resource in ("deployments.apps", "pods"):
        place.kube.wait_all(
            resource,
            place.namespace,
            until=lambda found: not found,
            timeout=limit,
            labelSelector=f"dask.org/cluster-name in ({','.join(clusters)})",
        )
