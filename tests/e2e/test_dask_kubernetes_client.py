"""dask-kubernetes' own client, in an environment of its own, against our controller."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import DASK_CLUSTERS
from tests.harness.kube import Kube

STORY = """
import json, sys
from dask.distributed import Client
from dask_kubernetes.operator import KubeCluster

spec, namespace = json.load(sys.stdin)
with KubeCluster(custom_cluster_spec=spec, namespace=namespace) as cluster:
    assert cluster.name == "theirs"
    with Client(cluster) as client:
        client.wait_for_workers(1, timeout=120)
        assert client.submit(sum, [1, 2, 3]).result(timeout=120) == 6
        cluster.scale(2)
        client.wait_for_workers(2, timeout=120)
        cluster.scale(1)
        print("scaled")
print("closed")
"""


@pytest.mark.full
@pytest.mark.timeout(1200)
@pytest.mark.usefixtures("controller")
def test_it_creates_connects_to_scales_and_closes_a_cluster_of_ours(
    kube: Kube, kubeconfig: Path, namespace: str, their_python: Path, dask_image: str
) -> None:
    """With a custom spec, as its default commands no longer exist in today's distributed."""
    from dask_k8s_models import make_cluster_spec

    spec = make_cluster_spec(name="theirs", image=dask_image, n_workers=1)
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    story = subprocess.run(
        [str(their_python), "-c", STORY],
        input=json.dumps([spec, namespace]),
        env=environment,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert story.returncode == 0, story.stderr[-3000:]
    assert "scaled" in story.stdout
    assert story.stdout.rstrip().endswith("closed")
    kube.gone(DASK_CLUSTERS, "theirs", namespace)
    kube.wait_all("pods", namespace, until=lambda pods: not pods)
