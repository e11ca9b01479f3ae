"""``dask kubernetes``: the command line.

Each ``dask`` command imports this, so the modules of the commands import what they need when they run.
"""

from dask_k8s_client.cli.main import kubernetes

__all__ = ["kubernetes"]
