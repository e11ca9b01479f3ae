"""Several processes and one cluster: only its creator deletes it, and what a creator leaves doesn't stay."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dask_k8s_client import KubeCluster
from dask_k8s_credentials import load
from tests.e2e.conftest import DASK_CLUSTERS, is_running
from tests.harness.kube import Kube

pytestmark = pytest.mark.usefixtures("controller")


IGNORED = [
    "-Wignore:Mismatched versions found",
    "-Wignore:'asyncio.iscoroutinefunction' is deprecated",
]
"""Warnings of what others do: an image of another version, and kr8s on Python 3.14."""


class Interpreters:
    """Python processes with some code, which end with the test."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[str]] = []

    def start(self, code: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", *IGNORED, "-c", code],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def run(self, code: str, timeout: float = 180, **environment: str) -> str:
        """Return what it wrote to its standard output; it must not complain about anything."""
        process = self.start(code, **environment)
        written, complaints = process.communicate(timeout=timeout)
        assert (process.returncode, complaints) == (0, "")
        return written

    def end(self) -> None:
        for process in self._started:
            process.kill()
            process.communicate()


@pytest.fixture
def interpreters() -> Iterator[Interpreters]:
    processes = Interpreters()
    yield processes
    processes.end()


def creation(namespace: str, image: str, **options: Any) -> str:
    """Code that creates the cluster ``mine`` and says so."""
    given = {"name": "mine", "namespace": namespace, "image": image, "quiet": True, **options}
    return f"""
from dask_k8s_client import KubeCluster
cluster = KubeCluster(**{given!r})
print("ready", flush=True)
"""


def test_a_second_interpreter_connects_by_name_and_its_exit_leaves_the_cluster(
    interpreters: Interpreters, kube: Kube, namespace: str, dask_image: str
) -> None:
    code = f"""
from dask.distributed import Client
from dask_k8s_client import KubeCluster
cluster = KubeCluster.from_name("mine", namespace={namespace!r}, quiet=True)
client = Client(cluster)
print(client.submit(sum, [10, 1]).result(timeout=120), cluster.dashboard_link)
"""
    with KubeCluster(name="mine", namespace=namespace, image=dask_image, n_workers=1, quiet=True) as cluster:
        # What Kubeflow's notebook servers set, as its users configure them.
        written = interpreters.run(
            code,
            NB_PREFIX="/notebook/someone/mine",
            DASK_DISTRIBUTED__DASHBOARD__LINK="{NB_PREFIX}/proxy/{host}:{port}/status",
        )
        number, link = written.split()
        assert number == "11"
        assert link.startswith("/notebook/someone/mine/proxy/localhost:")
        assert "deletionTimestamp" not in kube.get(DASK_CLUSTERS, "mine", namespace)["metadata"]
        assert cluster.get_logs()


def test_the_interpreters_exit_deletes_what_it_made_and_did_not_close(
    interpreters: Interpreters, kube: Kube, namespace: str, dask_image: str
) -> None:
    assert interpreters.run(creation(namespace, dask_image)) == "ready\n"
    kube.gone(DASK_CLUSTERS, "mine", namespace, timeout=30)


def test_the_interpreters_exit_leaves_what_shall_stay(
    interpreters: Interpreters, kube: Kube, namespace: str, dask_image: str
) -> None:
    code = creation(namespace, dask_image, shutdown_on_close=False)
    assert interpreters.run(code + "cluster.close()\n") == "ready\n"
    assert "deletionTimestamp" not in kube.get(DASK_CLUSTERS, "mine", namespace)["metadata"]


def test_what_a_killed_creator_leaves_is_removed_when_idle(
    interpreters: Interpreters, kube: Kube, namespace: str, dask_image: str
) -> None:
    code = creation(namespace, dask_image, idle_timeout=2) + "import time; time.sleep(3600)"
    creator = interpreters.start(code)
    assert creator.stdout is not None
    assert creator.stdout.readline() == "ready\n"

    creator.kill()
    creator.wait()

    assert "deletionTimestamp" not in kube.get(DASK_CLUSTERS, "mine", namespace)["metadata"]
    kube.gone(DASK_CLUSTERS, "mine", namespace, timeout=180)


def test_ctrl_c_during_the_start_ends_it_soon_and_removes_the_cluster(
    interpreters: Interpreters, kube: Kube, namespace: str
) -> None:
    starting = interpreters.start(creation(namespace, "registry.invalid/dask:none", resource_timeout=600))
    kube.wait(DASK_CLUSTERS, "mine", namespace, until=is_running)

    starting.send_signal(signal.SIGINT)

    written, complaints = starting.communicate(timeout=60)
    assert written == ""
    assert complaints.rstrip().endswith("KeyboardInterrupt")
    assert complaints.count("Traceback") == 1
    kube.gone(DASK_CLUSTERS, "mine", namespace, timeout=30)


def test_a_forked_process_deletes_the_cluster_that_it_made(
    interpreters: Interpreters, kube: Kube, namespace: str, dask_image: str
) -> None:
    fork = "import os, sys, dask_k8s_client\nif os.fork():\n    os.wait()\n    sys.exit()\n"
    assert interpreters.run(fork + creation(namespace, dask_image)) == "ready\n"
    kube.gone(DASK_CLUSTERS, "mine", namespace, timeout=30)


PLUGIN = """#!/bin/sh
cat {folder}/credential
"""


def test_a_credential_that_expires_does_not_keep_the_exit_from_deleting(
    interpreters: Interpreters, kube: Kube, kubeconfig: Path, namespace: str, dask_image: str, tmp_path: Path
) -> None:
    """Tokens of credential plugins live for a quarter of an hour, and notebooks for days."""
    scheme, _, valid = dict(load(kubeconfig).headers).get("Authorization", "").partition(" ")
    if scheme != "Bearer":
        pytest.skip("this kubeconfig has no token that a plugin could print")
    credential = tmp_path / "credential"
    credential.write_text(json.dumps({"status": {"token": valid}}))
    plugin = tmp_path / "plugin"
    plugin.write_text(PLUGIN.format(folder=tmp_path))
    plugin.chmod(0o755)
    config = yaml.safe_load(kubeconfig.read_text())
    for cluster in config["clusters"]:
        if authority := cluster["cluster"].get("certificate-authority"):
            cluster["cluster"]["certificate-authority"] = str(kubeconfig.parent / authority)
    config["users"] = [{**user, "user": {"exec": {"command": "./plugin"}}} for user in config["users"]]
    (tmp_path / "config").write_text(yaml.safe_dump(config))
    # The token of the creation is no longer accepted when the interpreter ends.
    expire = "import dask_k8s_client.reaper as reaper, dataclasses\n" + (
        "[one] = reaper._leftovers\n"
        "old = dataclasses.replace(one.credentials, headers=(('Authorization', 'Bearer expired'),))\n"
        "reaper._leftovers = {dataclasses.replace(one, credentials=old)}\n"
    )
    code = creation(namespace, dask_image) + expire
    assert interpreters.run(code, KUBECONFIG=str(tmp_path / "config")) == "ready\n"
    kube.gone(DASK_CLUSTERS, "mine", namespace, timeout=30)
