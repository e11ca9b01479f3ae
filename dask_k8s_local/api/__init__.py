"""An API server in memory that kubectl, kopf and kr8s take for Kubernetes'."""

from dask_k8s_local.api.faults import Fault, Faults
from dask_k8s_local.api.http.target import Request
from dask_k8s_local.api.server import ApiServer

__all__ = ["ApiServer", "Fault", "Faults", "Request"]
