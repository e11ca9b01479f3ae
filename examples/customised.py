"""The options that most people change, as keyword arguments."""

from dask_k8s_client import KubeCluster

cluster = KubeCluster(
    name="mycluster",
    image="ghcr.io/dask/dask:latest",
    n_workers=3,
    env={"FOO": "bar"},
    resources={"requests": {"memory": "2Gi"}, "limits": {"memory": "64Gi"}},
)
