"""The controller as a program that can't begin."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("program", ["-m dask_k8s_controller", "-m kopf run -m dask_k8s_controller -A"])
def test_without_a_kubeconfig_it_says_so_and_ends(program: str, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "KUBECONFIG": str(tmp_path / "missing"),
        "DASK_KUBERNETES__CONTROLLER__HEALTH_PORT": "0",
    }
    ended = subprocess.run(
        [sys.executable, *program.split()], env=environment, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 1
    assert f"there is no kubeconfig at {tmp_path / 'missing'}" in ended.stderr
    if "kopf" not in program:
        assert "Traceback" not in ended.stderr
