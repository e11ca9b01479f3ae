"""What kube-controller-manager does in Kubernetes, as small controllers on the in-process API."""

from dask_k8s_local.workloads.manager import ControllerManager

__all__ = ["ControllerManager"]
