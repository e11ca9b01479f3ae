"""The pod spec of a classic KubeCluster, taken over as it is: the worker's part of a cluster spec."""

import yaml

from dask_k8s_client import KubeCluster, make_cluster_spec

# The pod spec that you have, with the changes that you make to it in Python
with open("worker-spec.yaml") as file:
    pod_spec = yaml.safe_load(file)
pod_spec["spec"]["terminationGracePeriodSeconds"] = 60

# A cluster whose workers have that spec
cluster_spec = make_cluster_spec(name="merge-example")
cluster_spec["spec"]["worker"]["spec"] = pod_spec["spec"]

cluster = KubeCluster(custom_cluster_spec=cluster_spec)
