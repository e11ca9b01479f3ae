"""A cluster from its start to its end: scaled by hand, by itself, and used."""

from dask.distributed import Client

from dask_k8s_client import KubeCluster

cluster = KubeCluster(name="foo")

# By hand
cluster.scale(5)
cluster.scale(1)

# By the work that is waiting, between 1 and 10 workers
cluster.adapt(minimum=1, maximum=10)

# By hand again, which ends autoscaling
cluster.scale(1)

# From now on Dask computes there
client = Client(cluster)

cluster.close()
