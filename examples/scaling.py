"""A cluster from its start to its end: scaled by hand, by itself, and used."""

from dask.distributed import Client

from dask_k8s_client import KubeCluster

cluster = KubeCluster(name="foo")

# Scale up the cluster
cluster.scale(5)

# Scale down the cluster
cluster.scale(1)

# Allow cluster to autoscale between 1 and 10 workers
cluster.adapt(minimum=1, maximum=10)

# Disable autoscaling by explicitly scaling to your desired number of workers
cluster.scale(1)

# Connect Dask to the cluster
client = Client(cluster)

cluster.close()
