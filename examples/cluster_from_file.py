"""A cluster from a manifest: the same as `kubectl apply -f cluster-spec.yaml`."""

from dask_k8s_client import KubeCluster

cluster = KubeCluster(custom_cluster_spec="cluster-spec.yaml")
