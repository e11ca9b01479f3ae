"""The Python examples of the documentation of dask-kubernetes, with nothing changed but the import.

Where the printed text lost indentation, joined lines or left a placeholder, the example is restored by its
meaning. Users name no namespace; the tests give it by Dask's configuration. The image under test takes the
place of the documented one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import dask
import pytest
from distributed import Client

from dask_k8s_client import KubeCluster
from tests.conftest import is_local
from tests.e2e.conftest import WORKER_GROUPS, EnvironmentWith, skip_unless_a_scheduler_of_2_gib_fits
from tests.harness.examples import copied_to, with_image
from tests.harness.kube import Kube

pytestmark = pytest.mark.usefixtures("controller")


@pytest.fixture(autouse=True)
def defaults(namespace: str, dask_image: str) -> Iterator[None]:
    config = {"kubernetes.namespace": namespace, "kubernetes.image": dask_image}
    with dask.config.set(config):
        yield


def run(code: str, **given: Any) -> Iterator[Any]:
    """Run an example, hand out its variables, and close its cluster."""
    scope: dict[str, Any] = {**given}
    try:
        exec(with_image(code, dask.config.get("kubernetes.image")), scope)
        yield scope
    finally:
        for value in list(scope.values()):
            if type(value).__name__ == "Client":
                value.close()
        for value in list(scope.values()):
            if isinstance(value, KubeCluster):
                value.close()


FIRST_STEPS = """
from dask_k8s_client import KubeCluster

cluster = KubeCluster(name='foo')

# Scale up the cluster
cluster.scale(5)

# Scale down the cluster
cluster.scale(1)

# Allow cluster to autoscale between 1 and 10 workers
cluster.adapt(minimum=1, maximum=10)

# Disable autoscaling by explicitly scaling to your desired number of workers
cluster.scale(1)

from dask.distributed import Client

# Connect Dask to the cluster
client = Client(cluster)

cluster.add_worker_group(name="highmem",
    n_workers=2, resources={"requests": {"memory": "2Gi"}, "limits": {"memory": "64Gi"}})
cluster.scale(5, worker_group="highmem")
cluster.delete_worker_group(name="highmem")

cluster.add_worker_group('additional', n=4)
cluster.scale(10, worker_group='additional')
cluster.adapt(20, 50)
cluster.adapt()
cluster.scale(0)
cluster.scale(0, worker_group='additional')
logs = cluster.get_logs()

existing_cluster = KubeCluster.from_name(name="foo")
existing_cluster.close()

cluster.close()
"""


def test_the_first_steps() -> None:
    for scope in run(FIRST_STEPS):
        assert "foo-scheduler" in scope["logs"]
        assert scope["cluster"].status.name == "closed"


EQUIVALENT = """
from dask_k8s_client import KubeCluster, make_cluster_spec

config = {
    "name": "foo",
    "n_workers": 2,
    "resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "64Gi"}}
}

cluster = KubeCluster(**config)
first = cluster.observed is not None and dict(cluster._session.resource["spec"])
cluster.close()
# is equivalent to
cluster = KubeCluster(custom_cluster_spec=make_cluster_spec(**config))
second = dict(cluster._session.resource["spec"])
"""


@pytest.mark.full
def test_keywords_and_a_spec_made_of_them_are_equivalent(kube: Kube) -> None:
    skip_unless_a_scheduler_of_2_gib_fits(kube)
    for scope in run(EQUIVALENT):
        for spec in (scope["first"], scope["second"]):
            [container] = spec["worker"]["spec"]["containers"]
            assert container["resources"]["limits"] == {"memory": "64Gi"}
            assert spec["worker"]["replicas"] == 2


NODE_SELECTOR = """
from dask_k8s_client import KubeCluster, make_cluster_spec

spec = make_cluster_spec(name="selector-example", n_workers=2)
spec["spec"]["worker"]["spec"]["nodeSelector"] = {"disktype": "ssd"}

cluster = KubeCluster(custom_cluster_spec=spec)
"""

PULL_SECRETS = """
from dask_k8s_client import KubeCluster, make_cluster_spec

# Generate the spec
spec = make_cluster_spec(name="custom", image="foo.com/jacobtomlinson/dask:latest")

# Set the imagePullSecrets for the scheduler and worker pods
spec["spec"]["worker"]["spec"]["imagePullSecrets"] = [{"name": "regcred"}]
spec["spec"]["scheduler"]["spec"]["imagePullSecrets"] = [{"name": "regcred"}]

# Create the cluster
cluster = KubeCluster(custom_cluster_spec=spec)
"""

JUPYTER = """
from dask_k8s_client import KubeCluster, make_cluster_spec

spec = make_cluster_spec(name="jupyter-example", n_workers=2, env={"EXTRA_PIP_PACKAGES": "jupyterlab"})
spec["spec"]["scheduler"]["spec"]["containers"][0]["args"].append("--jupyter")

cluster = KubeCluster(custom_cluster_spec=spec)
"""


@pytest.mark.full
def test_worker_pods_get_the_node_selector(kube: Kube, namespace: str) -> None:
    for scope in run(NODE_SELECTOR):
        name = scope["cluster"].name
        group = kube.get(WORKER_GROUPS, f"{name}-default", namespace)
        assert group["spec"]["worker"]["spec"]["nodeSelector"] == {"disktype": "ssd"}


def test_images_of_a_private_registry_have_their_pull_secrets(
    request: pytest.FixtureRequest, kube: Kube, namespace: str
) -> None:
    if not is_local(request.config):
        pytest.skip("there is no such registry; the local Kubernetes pulls no images")
    for scope in run(PULL_SECRETS):
        pod = kube.get("pods", f"{scope['cluster'].name}-scheduler", namespace)
        assert pod["spec"]["imagePullSecrets"] == [{"name": "regcred"}]


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore:Mismatched versions found")
def test_jupyter_runs_on_the_scheduler(
    request: pytest.FixtureRequest, environment_with: EnvironmentWith
) -> None:
    if not is_local(request.config):
        pytest.skip(
            "the image would have to fetch jupyterlab, or have it; test_examples.py starts it as well"
        )
    python = environment_with("jupyter", f"distributed=={version('distributed')}", "jupyterlab>=4,<5")
    path = os.pathsep.join([str(python.parent), os.defpath])
    # As if the image had it, or had fetched it.
    for scope in run(JUPYTER.replace("env={", f"env={{'PATH': {path!r}, ")):
        cluster = scope["cluster"]
        assert cluster.jupyter_link.endswith("/jupyter/lab")
        with urlopen(cluster.jupyter_link, timeout=30) as page:
            assert "<title>JupyterLab</title>" in page.read().decode()
        with urlopen(cluster.jupyter_link.replace("/lab", "/api/contents"), timeout=30) as listing:
            assert json.load(listing)["type"] == "directory", "without a token, as docs/security.md says"
        with Client(cluster) as client:
            assert client.submit(sum, [1, 2]).result(timeout=60) == 3


GROUP_OF_A_SPEC = """
from dask_k8s_client import KubeCluster, make_worker_spec

cluster = KubeCluster(name="example")

worker_spec = make_worker_spec(
    cluster_name=cluster.name, n_workers=2, resources={"limits": {"nvidia.com/gpu": 1}})
worker_spec["spec"]["nodeSelector"] = {"cloud.google.com/gke-nodepool": "gpu-node-pool"}

cluster.add_worker_group(custom_spec=worker_spec)

from dask.distributed import Client
from dask_k8s_client import KubeCluster

second = KubeCluster.from_name("example")
second.scale(5)
client = Client(second)
second.scale(0)
"""


def test_a_group_of_a_spec_and_a_connection_by_name(kube: Kube, namespace: str) -> None:
    for _ in run(GROUP_OF_A_SPEC):
        groups = kube.list(WORKER_GROUPS, namespace)
        assert len(groups) == 2
        assert any(
            "cloud.google.com/gke-nodepool" in group["spec"]["worker"]["spec"].get("nodeSelector", {})
            for group in groups
        )


MINIMAL_AND_CUSTOMISED = """
from dask_k8s_client import KubeCluster

cluster = KubeCluster(name="mycluster")
cluster.close()

cluster = KubeCluster(name="mycluster",
                      image='ghcr.io/dask/dask:latest',
                      n_workers=3,
                      env={"FOO": "bar"},

                      resources={"requests": {"memory": "2Gi"}, "limits": {"memory": "64Gi"}})
"""


@pytest.mark.full
def test_a_name_can_be_used_again_at_once_with_more_options(kube: Kube) -> None:
    skip_unless_a_scheduler_of_2_gib_fits(kube)
    for scope in run(MINIMAL_AND_CUSTOMISED):
        assert scope["cluster"].env in ({"FOO": "bar"}, [{"name": "FOO", "value": "bar"}])


FROM_A_FILE = """
from dask_k8s_client import KubeCluster

cluster = KubeCluster(custom_cluster_spec="cluster-spec.yml")
"""


@pytest.mark.full
def test_a_file_is_what_kubectl_would_apply(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dask_image: str
) -> None:
    (copied_to(tmp_path, dask_image) / "cluster-spec.yaml").rename(tmp_path / "cluster-spec.yml")
    monkeypatch.chdir(tmp_path)
    for scope in run(FROM_A_FILE):
        assert scope["cluster"].name == "example"


CLASSIC_POD_SPEC = """
from dask_k8s_client import KubeCluster, make_cluster_spec

# your existing classic pod spec
pod_spec = {
    "kind": "Pod",
    "spec": {
        "restartPolicy": "Never",
        "containers": [
            {
                "name": "dask",
                "image": "ghcr.io/dask/dask:latest",
                "args": ["dask", "worker", "--nthreads", "2", "--memory-limit", "1GB"],
                "env": [{"name": "EXTRA", "value": "yes"}],
            }
        ],
    },
}

# generate a new cluster spec and merge in the existing pod spec
cluster_spec = make_cluster_spec(name="merge-example")
cluster_spec["spec"]["worker"]["spec"] = pod_spec["spec"]

cluster = KubeCluster(custom_cluster_spec=cluster_spec)
"""


@pytest.mark.full
def test_a_classic_pod_spec_still_makes_workers() -> None:
    for scope in run(CLASSIC_POD_SPEC):
        cluster = scope["cluster"]
        cluster.scale(1)
        cluster.wait_for_workers(1, timeout=120)
        assert [worker["nthreads"] for worker in cluster.scheduler_info["workers"].values()] == [2]
