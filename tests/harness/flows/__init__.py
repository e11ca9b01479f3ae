"""What users do with clusters, groups, jobs and autoscalers, and where each of it has to end: one table."""

from __future__ import annotations

from tests.harness.flows import autoscalers, clusters, jobs
from tests.harness.flows.clusters import change_container, create, created_at_once, manifest, scale
from tests.harness.flows.flow import Flow, pods_created_since, version_of_pods
from tests.harness.flows.shapes import (
    AUTOSCALERS,
    CLUSTERS,
    GROUPS,
    JOBS,
    NAME,
    NOTHING,
    Shape,
    await_shape,
    holds,
    of,
)

FLOWS = clusters.FLOWS + jobs.FLOWS + autoscalers.FLOWS
BY_NAME = {flow.name: flow for flow in FLOWS}

__all__ = [
    "AUTOSCALERS",
    "BY_NAME",
    "CLUSTERS",
    "FLOWS",
    "GROUPS",
    "JOBS",
    "NAME",
    "NOTHING",
    "Flow",
    "Shape",
    "await_shape",
    "change_container",
    "create",
    "created_at_once",
    "holds",
    "manifest",
    "of",
    "pods_created_since",
    "scale",
    "version_of_pods",
]
