"""Nodes: the kube-scheduler that binds pods to them, and the agents that run the pods."""

from dask_k8s_local.node.agent import NodeAgent
from dask_k8s_local.node.description import Node
from dask_k8s_local.node.lifecycle import NodeLifecycle
from dask_k8s_local.node.scale import ScaleNode
from dask_k8s_local.node.scheduling.scheduler import Scheduler
from dask_k8s_local.node.settings import NodeSettings

__all__ = ["Node", "NodeAgent", "NodeLifecycle", "NodeSettings", "ScaleNode", "Scheduler"]
