"""What stands below objects: scale, binding, eviction, log, exec, port-forward, proxy, token."""

from dask_k8s_local.api.subresources.routes import SUBRESOURCES

__all__ = ["SUBRESOURCES"]
