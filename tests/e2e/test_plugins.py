"""A plugin, installed as any package is, sees what kopf's users expect: the example of the documentation."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from dask_k8s_models import make_cluster_spec
from tests.harness.controller import ControllerProcess
from tests.harness.kube import Kube

PLUGIN = """
import os
import kopf

@kopf.on.create("service", labels={"dask.org/component": "scheduler"})
async def handle_scheduler_service_create(meta, new, namespace, logger, **kwargs):
    with open(os.environ["PLUGIN_SAW"], "a") as file:
        file.write(f"{namespace}/{meta['name']}\\n")
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install a plugin; return the file in which it writes."""
    (tmp_path / "my_controller_plugin.py").write_text(PLUGIN)
    metadata = tmp_path / "my_controller_plugin-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-controller-plugin\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[dask_operator_plugin]\nmine = my_controller_plugin\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("PLUGIN_SAW", str(tmp_path / "saw"))
    return tmp_path / "saw"


@pytest.mark.usefixtures("crds")
def test_the_seeds_example_sees_the_schedulers_service(
    kube: Kube, kubeconfig: Path, namespace: str, plugin: Path
) -> None:
    with ControllerProcess(kubeconfig, f"--namespace={namespace}") as controller:
        manifest = make_cluster_spec(name="watched", n_workers=0)
        for component in ("scheduler", "worker"):
            manifest["spec"][component]["spec"]["containers"][0] |= {"command": ["sleep", "60"], "args": []}
        kube.create(manifest, namespace)
        end = time.monotonic() + 120
        while not plugin.exists():
            assert time.monotonic() < end, controller.log
            time.sleep(0.05)
    assert plugin.read_text() == f"{namespace}/watched-scheduler\n"
