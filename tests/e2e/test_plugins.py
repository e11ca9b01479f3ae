"""Packages that add handlers to the controller: the example, and the one of docs/extending.md."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance.waiting import eventually
from tests.harness.controller import ControllerProcess
from tests.harness.examples import EXAMPLES
from tests.harness.kube import Kube, Object
from tests.harness.pages import blocks_of

HOST_NAME = "external-dns.alpha.kubernetes.io/hostname"
BUILD = """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "my-controller-plugin"
version = "1.0"
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Install packages beside this environment, as the image with a plugin does."""
    target = tmp_path / "plugins"
    path = [str(target), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, path)))

    def install(package: Path) -> None:
        options = ["--quiet", "--no-deps", "--no-build-isolation", "--target", str(target)]
        command = [sys.executable, "-m", "pip", "install", *options, str(package)]
        subprocess.run(command, check=True, timeout=120)

    return install


@pytest.mark.full
@pytest.mark.usefixtures("crds")
def test_packages_add_handlers_to_the_controller(
    install: Callable[[Path], None],
    kube: Kube,
    kubeconfig: Path,
    namespace: str,
    tmp_path: Path,
    idle_cluster_manifest: Callable[..., Object],
) -> None:
    [entry_point] = blocks_of("docs/extending.md", "toml")
    [handler] = blocks_of("docs/extending.md", "python")
    package = tmp_path / "mine" / "my_controller_plugin"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "plugin.py").write_text(handler.text)
    (package.parent / "pyproject.toml").write_text(BUILD + entry_point.text)
    install(package.parent)
    install(Path(shutil.copytree(EXAMPLES / "plugin", tmp_path / "example")))

    with (
        ControllerProcess.none_runs(),
        ControllerProcess(kubeconfig, f"--namespace={namespace}") as controller,
    ):
        kube.create(idle_cluster_manifest("plugged", n_workers=0), namespace)
        kube.wait(
            "services",
            "plugged-scheduler",
            namespace,
            until=lambda service: (
                service["metadata"].get("annotations", {}).get(HOST_NAME)
                == f"plugged-scheduler.{namespace}.dask.example.com"
            ),
        )
        eventually(lambda: controller.log, until=lambda log: "a scheduler has a Service" in log)
