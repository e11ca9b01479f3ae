"""What is particular to the built-in kinds."""

from dask_k8s_local.api.kinds.table import builtin

__all__ = ["builtin"]
