"""A small local Kubernetes that runs pods as processes, without root or containers."""

from dask_k8s_local.addons import Addon
from dask_k8s_local.cluster import LocalKubernetes
from dask_k8s_local.interfaces import ApiError
from dask_k8s_local.node import Node, NodeSettings

__all__ = ["Addon", "ApiError", "LocalKubernetes", "Node", "NodeSettings"]
