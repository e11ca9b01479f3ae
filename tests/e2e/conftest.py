"""What the end-to-end tests of clusters share: manifests whose pods run Dask, or merely run."""

from __future__ import annotations

import fcntl
import re
import subprocess
import sys
import venv
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import pytest

from dask_k8s_models import make_cluster_spec
from tests.conftest import is_local
from tests.harness.controller import ControllerProcess
from tests.harness.hasty import HastyController
from tests.harness.installed import NamespacedController
from tests.harness.kube import Kube, Object
from tests.harness.lab import Lab, Stage, a_lab
from tests.harness.pages import PROJECT

DASK_CLUSTERS = "daskclusters.kubernetes.dask.org"
WORKER_GROUPS = "daskworkergroups.kubernetes.dask.org"

DASK_KUBERNETES = (Path(__file__).parents[2] / "benchmarks" / "dask-kubernetes.txt").read_text().strip()
"""The other operator, whose users' clusters and programs go on with ours."""

Patience = Callable[[float], float]
EnvironmentWith = Callable[..., Path]


@pytest.fixture(scope="session")
def patience(pytestconfig: pytest.Config) -> Patience:
    """Stretch a time that a test lets pass: what takes a moment locally takes seconds elsewhere."""
    return lambda seconds: seconds if is_local(pytestconfig) else 10 * seconds


def skip_unless_a_scheduler_of_2_gib_fits(kube: Kube) -> None:
    """Skip a documented example that asks for as much where no node has it, beside what Kubernetes needs."""
    largest = max(memory_of(node) for node in kube.list("nodes"))
    if largest < 3 * 2**30:
        pytest.skip(f"the largest node has {largest / 2**30:.1f} GiB")


def memory_of(node: Object) -> int:
    number, unit = re.fullmatch(r"(\d+)(\D*)", node["status"]["allocatable"]["memory"]).groups()  # type: ignore[union-attr]
    return (
        int(number) * {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}[unit]
    )


@pytest.fixture(params=["tcp", pytest.param("tls", marks=pytest.mark.full)])
def protocol(request: pytest.FixtureRequest) -> Iterator[str]:
    """What the clusters of a test speak: whoever uses it is run once for each."""
    with dask.config.set({"kubernetes.tls": request.param == "tls"}):
        yield request.param


@pytest.fixture
def cluster_manifest(dask_image: str, request: pytest.FixtureRequest) -> Callable[..., Object]:
    """A DaskCluster with real scheduler and workers."""
    asked = "protocol" in request.fixturenames
    spoken = {"tls": request.getfixturevalue("protocol") == "tls"} if asked else {}

    def manifest(name: str, **options: Any) -> Object:
        return make_cluster_spec(name=name, image=dask_image, **{"n_workers": 2, **spoken, **options})

    return manifest


@pytest.fixture
def idle_cluster_manifest(cluster_manifest: Callable[..., Object]) -> Callable[..., Object]:
    """A DaskCluster whose pods only wait, for tests about objects rather than about Dask."""

    def manifest(name: str, **options: Any) -> Object:
        cluster = cluster_manifest(name, **options)
        for component in ("scheduler", "worker"):
            container = cluster["spec"][component]["spec"]["containers"][0]
            container["command"] = ["sleep", "3600"]
            for key in ("args", "readinessProbe", "livenessProbe"):
                container.pop(key, None)
            cluster["spec"][component]["spec"]["terminationGracePeriodSeconds"] = 1
        return cluster

    return manifest


@pytest.fixture
def controller_at_work(
    kube: Kube, namespace: str, controller: ControllerProcess, idle_cluster_manifest: Callable[..., Object]
) -> None:
    """The controller has begun to act, for tests that give it little time."""
    assert controller.is_running
    manifest = idle_cluster_manifest("at-work")
    manifest["spec"]["suspend"] = True
    kube.create(manifest, namespace)
    kube.wait(DASK_CLUSTERS, "at-work", namespace, until=lambda found: found.get("status", {}).get("phase"))
    kube.delete(DASK_CLUSTERS, "at-work", namespace)


@pytest.fixture
def alone(controller: ControllerProcess) -> Iterator[None]:
    """No other controller runs meanwhile."""
    if isinstance(controller, NamespacedController):
        pytest.skip("runs controllers of its own, with rights of their own")
    controller.stop()
    yield
    controller.start()


def is_running(cluster: Object) -> bool:
    return cluster.get("status", {}).get("phase") == "Running"


def pods_of(kube: Kube, cluster: str, namespace: str, component: str = "") -> list[Object]:
    """The cluster's pods that aren't on their way out."""
    selector = f"dask.org/cluster-name={cluster}" + (f",dask.org/component={component}" if component else "")
    return [
        pod for pod in kube.list("pods", namespace, selector) if "deletionTimestamp" not in pod["metadata"]
    ]


@pytest.fixture(autouse=True)
def show_the_controllers_log_of_a_failure(request: pytest.FixtureRequest) -> Iterator[None]:
    """Print the end of the controller's log, which pytest shows for tests that fail."""
    yield
    if "controller" in request.fixturenames:
        controller: ControllerProcess = request.getfixturevalue("controller")
        print("\n".join(controller.log.splitlines()[-40:]))


@pytest.fixture(scope="session")
def their_python(environment_with: EnvironmentWith) -> Path:
    """The Python of an environment that has dask-kubernetes."""
    return environment_with("dask-kubernetes", DASK_KUBERNETES)


@pytest.fixture(scope="session")
def environment_with(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> EnvironmentWith:
    """Make an environment of that name, in pytest's cache if there is one, and return its Python."""

    def make(name: str, *requirements: str) -> Path:
        name = f"{name}-{sys.version_info.major}.{sys.version_info.minor}"
        if "-e" in requirements:
            # Another version of this project may need other packages.
            name += f"-{zlib.crc32((PROJECT / 'pyproject.toml').read_bytes()):08x}"
        has_cache = pytestconfig.pluginmanager.has_plugin("cacheprovider")
        folder = pytestconfig.cache.mkdir(name) if has_cache else tmp_path_factory.mktemp(name)
        python = folder / "bin" / "python"
        with (folder.parent / f"{name}.lock").open("w") as lock:
            # Tests that run at the same time share the cache.
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / "ready").exists():
                install_into(folder, python, *requirements)
        return python

    return make


def install_into(folder: Path, python: Path, *requirements: str) -> None:
    """Make an environment with these packages, by uv: it takes seconds, not minutes."""
    venv.create(folder, clear=True)
    install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", str(python)]
    found = subprocess.run([*install, *requirements], capture_output=True, text=True, timeout=900)
    if found.returncode:
        cannot = ("connection", "no matching distribution", "no solution found", "error sending request")
        if any(sign in found.stderr.lower() for sign in cannot):
            pytest.skip(f"{requirements} can't be had here: {found.stderr[-300:]}")
        raise AssertionError(found.stderr)
    (folder / "ready").touch()


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Nodes whose pods need no processes."""
    with a_lab(request) as found:
        yield found


@pytest.fixture
def stage(lab: Lab) -> Iterator[Stage]:
    with lab.stage() as found:
        yield found


@pytest.fixture
def hasty(lab: Lab) -> Iterator[HastyController]:
    """A controller whose waits are scaled down, there."""
    with lab.controller() as controller:
        yield controller
