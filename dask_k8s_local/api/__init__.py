"""An API server in memory that kubectl, kopf and kr8s take for Kubernetes'."""

from dask_k8s_local.api.server import ApiServer

__all__ = ["ApiServer"]
