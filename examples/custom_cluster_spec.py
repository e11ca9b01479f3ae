"""Keyword arguments, or the manifest that they stand for: two ways to make the same cluster."""

from dask_k8s_client import KubeCluster, make_cluster_spec

config = {
    "name": "foo",
    "n_workers": 2,
    "resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "64Gi"}},
}

cluster = KubeCluster(**config)
# makes the same cluster as
cluster = KubeCluster(custom_cluster_spec=make_cluster_spec(**config))
