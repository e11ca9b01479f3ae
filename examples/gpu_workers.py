"""A further group of workers, each with a GPU, on the nodes that have them."""

from dask_k8s_client import KubeCluster, make_worker_spec

cluster = KubeCluster(name="example")

worker_spec = make_worker_spec(
    cluster_name=cluster.name, n_workers=2, resources={"limits": {"nvidia.com/gpu": 1}}
)
worker_spec["spec"]["nodeSelector"] = {"cloud.google.com/gke-nodepool": "gpu-node-pool"}

cluster.add_worker_group(custom_spec=worker_spec)
