"""Workers with other resources beside the default ones: added, scaled and deleted by name."""

from dask_k8s_client import KubeCluster

cluster = KubeCluster(name="foo")

cluster.add_worker_group(
    name="highmem", n_workers=2, resources={"requests": {"memory": "2Gi"}, "limits": {"memory": "64Gi"}}
)

cluster.scale(5, worker_group="highmem")

cluster.delete_worker_group(name="highmem")
