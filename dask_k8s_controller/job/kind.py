"""The kind DaskJob, put together."""

from __future__ import annotations

from dask_k8s_controller.job.observe import gather, keys
from dask_k8s_controller.job.plan import plan
from dask_k8s_controller.job.spec import Job
from dask_k8s_controller.job.status import first_status, notices, status
from dask_k8s_controller.kubernetes.resources import JOBS
from dask_k8s_controller.plans.kind import Kind

JOB = Kind(JOBS, Job, gather, plan, status, keys, notices, first_status)
