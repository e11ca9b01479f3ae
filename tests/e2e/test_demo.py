"""``make demo``: it ends with its result, and leaves nothing behind, whenever it is interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

DEMO = Path(__file__).parents[2] / "examples" / "demo.py"
FIRST_WORDS = ["Kubernetes is up", "KubeCluster demo has", "QR of", "scaled to 4", "scaled to 1", "closed"]


@pytest.fixture(autouse=True)
def only_local(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--kubernetes") != "local":
        pytest.skip("the demonstration starts a Kubernetes of its own")


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The demonstration, whose temporary files and processes can be told from others' by its TMPDIR."""
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [sys.executable, str(DEMO)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        yield process
        process.kill()


def processes_of(folder: Path) -> list[psutil.Process]:
    """All processes that inherited the demonstration's TMPDIR or run below it."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(folder) in " ".join([*process.environ().values(), *process.cmdline()]):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def test_the_demonstration_ends_with_its_result_and_leaves_nothing(
    demo: subprocess.Popen[str], tmp_path: Path
) -> None:
    output, _ = demo.communicate(timeout=180)
    print(output)
    assert demo.returncode == 0
    assert output.splitlines()[-1].startswith("result:")
    assert processes_of(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(words, marks=[pytest.mark.full] if words != "scaled to 4" else [])
        for words in FIRST_WORDS
    ],
)
def test_an_interruption_cleans_up(demo: subprocess.Popen[str], tmp_path: Path, words: str) -> None:
    assert demo.stdout is not None
    for line in demo.stdout:
        if words in line:
            break
    demo.send_signal(signal.SIGINT)
    output, _ = demo.communicate(timeout=60)
    print(output)
    assert demo.returncode != 0
    assert "interrupted; cleaned up" in output
    assert processes_of(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.full
def test_no_process_outlives_a_demonstration_that_is_killed(
    demo: subprocess.Popen[str], tmp_path: Path
) -> None:
    assert demo.stdout is not None
    for line in demo.stdout:
        if "KubeCluster demo has" in line:
            break
    demo.kill()
    demo.wait(timeout=30)
    _, alive = psutil.wait_procs(processes_of(tmp_path), timeout=30)
    assert alive == []
