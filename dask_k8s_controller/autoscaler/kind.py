"""The kind DaskAutoscaler, put together."""

from __future__ import annotations

from dask_k8s_controller.autoscaler.observe import keys, observe
from dask_k8s_controller.autoscaler.plan import plan
from dask_k8s_controller.autoscaler.spec import Autoscaler
from dask_k8s_controller.autoscaler.status import notices, status
from dask_k8s_controller.kubernetes.resources import AUTOSCALERS
from dask_k8s_controller.plans.kind import Kind

AUTOSCALER = Kind(AUTOSCALERS, Autoscaler.of, observe, plan, status, keys, notices)
