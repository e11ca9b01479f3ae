"""Newcomers: a copy of the project, an empty environment, and what a page says; nothing else."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dask_k8s_local import LocalKubernetes
from tests.conformance.kubectl import need_kubectl
from tests.conftest import is_local
from tests.harness.pages import PROJECT, Block, blocks_of, python_of

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]

NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "_build", "tests", "benchmarks")
NO_NETWORK = ("No matching distribution", "connection", "Connection")


@pytest.fixture
def copy(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    if not is_local(request.config):
        pytest.skip("the local Kubernetes is what these tests need")
    return Path(shutil.copytree(PROJECT, tmp_path / "dask-k8s", ignore=NOT_COPIED))


def environment(copy: Path, **more: str) -> dict[str, str]:
    """The environment of somebody who has nothing of this one's, not even what is activated here."""
    search = [part for part in os.environ["PATH"].split(os.pathsep) if "venv" not in part]
    left = {name: value for name, value in os.environ.items() if name in ("LANG", "TMPDIR")}
    pip = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_", "SSL_"))}
    return {**left, **pip, "PATH": os.pathsep.join(search), "HOME": str(copy.parent), **more}


def script(*blocks: Block, of: slice = slice(None)) -> str:
    return "\n".join(["set -e", *[command for block in blocks for command in block][of]])


@contextmanager
def terminal(copy: Path, typed: str, until: str, **more: str) -> Iterator[None]:
    """Type into a terminal what goes on until Ctrl-C, and begin once it has written this."""
    log = copy.parent / f"terminal-{time.monotonic_ns()}"
    with (
        log.open("w") as output,
        subprocess.Popen(
            ["bash", "-c", typed],
            cwd=copy,
            env=environment(copy, PYTHONUNBUFFERED="1", **more),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            end = time.monotonic() + 600
            while until not in log.read_text():
                if process.poll() is not None or time.monotonic() > end:
                    if any(sign in log.read_text() for sign in NO_NETWORK):
                        pytest.skip(f"packages can't be had here: {log.read_text()[-300:]}")
                    pytest.fail(log.read_text())
                time.sleep(0.1)
            yield
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            process.wait(timeout=60)
            print(log.read_text())


def pasted_into(copy: Path, typed: str, python: str, **more: str) -> str:
    """Type commands, the last of which is Python, paste a program there, and return what it writes."""
    done = subprocess.run(
        ["bash", "-c", f"{typed} -"],
        input=python,
        cwd=copy,
        env=environment(copy, **more),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_copy_and_the_quickstart_lead_to_a_result(copy: Path) -> None:
    first, second, _ = blocks_of("docs/quickstart.md", "console")
    program = "\n".join(python_of("docs/quickstart.md"))
    with terminal(copy, script(first), "link to Dask's dashboard"):
        written = pasted_into(copy, script(second), program)
    assert "11\nhttp://" in written


def test_who_has_a_cluster_gets_a_result_from_the_installing_page(copy: Path) -> None:
    need_kubectl()
    definitions, operator = blocks_of("docs/installing.md", "console")[:2]
    *_, client = blocks_of("docs/quickstart.md", "console")
    program = "\n".join(python_of("docs/quickstart.md"))
    with LocalKubernetes(addons=()) as cluster:
        known = {"KUBECONFIG": str(cluster.kubeconfig)}
        typed = f"{script(definitions)}\n{script(operator)}"
        with terminal(copy, typed, "Initial authentication has finished", **known):
            written = pasted_into(copy, script(client), program, **known)
    assert "11\nhttp://" in written
