"""What stands below objects: scale, binding, eviction, log, exec, port-forward, proxy, token."""

from dask_k8s_local.api.subresources.table import SUBRESOURCES

__all__ = ["SUBRESOURCES"]
