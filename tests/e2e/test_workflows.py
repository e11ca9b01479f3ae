"""The examples for Prefect and Dagster, run with the real libraries in environments of their own."""

from __future__ import annotations

import math
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import is_local
from tests.e2e.conftest import DASK_CLUSTERS, EnvironmentWith
from tests.harness.examples import copied_to
from tests.harness.kube import Kube
from tests.harness.kubeconfigs import in_namespace
from tests.harness.pages import PROJECT

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]

PREFECT = "prefect-dask>=0.3.7,<0.4"
DAGSTER = "dagster>=1.13,<2"
NOT_IN_PODS = "127.0.0.2"
"""An address of this machine; the first, 127.0.0.1, is in each local pod its own."""


def written_by(python: Path, script: Path, **environment: str) -> str:
    ended = subprocess.run(
        [python, script],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    print(ended.stdout)
    assert ended.returncode == 0
    return ended.stdout


def assert_is_pi(written: str) -> None:
    [found] = re.findall(r"^pi is about ([\d.]+)$", written, re.MULTILINE)
    assert abs(float(found) - math.pi) < 0.02


@contextmanager
def running(*command: str | Path, log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command until the end of the block, and press Ctrl-C then."""
    with (
        log.open("w") as output,
        subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(timeout=60)
            print(log.read_text()[-3000:])


def listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex((NOT_IN_PODS, port)) == 0


def test_a_prefect_flow(
    request: pytest.FixtureRequest, environment_with: EnvironmentWith, tmp_path: Path
) -> None:
    if not is_local(request.config):
        pytest.skip("the image would need prefect-dask; the local Kubernetes' pods use its environment")
    python = environment_with("prefect", "-e", f"{PROJECT}[controller,local]", PREFECT)
    tools = python.parent
    kubeconfig = tmp_path / "kubeconfig"
    with socket.socket() as one:
        one.bind((NOT_IN_PODS, 0))
        port = one.getsockname()[1]
    prefect = {"PREFECT_HOME": str(tmp_path / "prefect"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    serve = ("server", "start", "--host", NOT_IN_PODS, "--port", str(port))
    with (
        running(tools / "prefect", *serve, log=tmp_path / "server.log", **prefect) as server,
        running(
            tools / "dask",
            "kubernetes",
            "local",
            "up",
            "--kubeconfig",
            kubeconfig,
            log=tmp_path / "local.log",
        ) as local,
    ):
        end = time.monotonic() + 180
        while not (listens(port) and kubeconfig.exists()):
            assert time.monotonic() < end
            assert server.poll() is None
            assert local.poll() is None
            time.sleep(0.2)

        written = written_by(
            python,
            PROJECT / "examples" / "prefect_flow.py",
            KUBECONFIG=str(kubeconfig),
            PREFECT_API_URL=f"http://{NOT_IN_PODS}:{port}/api",
            **prefect,
        )

        assert_is_pi(written)
        assert "Finished in state Completed()" in written
        with Kube.from_kubeconfig(kubeconfig) as kube:
            kube.wait_all(DASK_CLUSTERS, "default", until=lambda found: not found)


@pytest.mark.usefixtures("controller")
def test_a_dagster_job(
    environment_with: EnvironmentWith,
    kube: Kube,
    kubeconfig: Path,
    namespace: str,
    dask_image: str,
    tmp_path: Path,
) -> None:
    python = environment_with("dagster", "-e", str(PROJECT), DAGSTER)

    written = written_by(
        python,
        copied_to(tmp_path, dask_image) / "dagster_job.py",
        KUBECONFIG=in_namespace(kubeconfig, namespace, tmp_path / "kubeconfig"),
    )

    assert_is_pi(written)
    assert "RUN_SUCCESS" in written
    kube.wait_all(DASK_CLUSTERS, namespace, until=lambda found: not found)
