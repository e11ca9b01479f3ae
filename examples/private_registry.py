"""An image from a private registry, whose credentials are in the Secret `regcred`."""

from dask_k8s_client import KubeCluster, make_cluster_spec

spec = make_cluster_spec(name="custom", image="foo.com/jacobtomlinson/dask:latest")

# Both kinds of pods need the credentials
spec["spec"]["worker"]["spec"]["imagePullSecrets"] = [{"name": "regcred"}]
spec["spec"]["scheduler"]["spec"]["imagePullSecrets"] = [{"name": "regcred"}]

cluster = KubeCluster(custom_cluster_spec=spec)
