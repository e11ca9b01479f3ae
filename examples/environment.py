"""Environment variables of the scheduler and the workers, by keyword or in a manifest to change further."""

from dask_k8s_client import KubeCluster, make_cluster_spec

cluster = KubeCluster(name="foo", n_workers=2, env={"FOO": "bar"})

# makes the same cluster as

spec = make_cluster_spec(name="foo", n_workers=2, env={"FOO": "bar"})
cluster = KubeCluster(custom_cluster_spec=spec)
