"""The controller: makes Dask clusters what their ``DaskCluster`` says, and keeps them so.

``kopf run -m dask_k8s_controller`` and ``python -m dask_k8s_controller`` both run it: importing this package
registers its handlers with kopf.
"""

from __future__ import annotations

import kopf

from dask_k8s_controller.operator import Operator
from dask_k8s_controller.settings import Settings
from dask_k8s_controller.watching.handlers import register
from dask_k8s_controller.watching.plugins import load_plugins

__all__ = ["Operator", "Settings", "register"]

register(kopf.get_default_registry())
load_plugins()
