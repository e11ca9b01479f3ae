"""The pods that are made for a DaskWorkerGroup, each a pure function of the group."""

from __future__ import annotations

from dask_k8s_controller.cluster.tls import AUTHORITY, TLS, secured
from dask_k8s_controller.plans.actions import Object
from dask_k8s_controller.plans.metadata import inherited, with_env
from dask_k8s_controller.plans.ownership import child
from dask_k8s_controller.plans.unread import Unread, disruption_budget
from dask_k8s_controller.worker_group.leave import GRACE, with_leaving
from dask_k8s_controller.worker_group.spec import WorkerGroup
from dask_k8s_models import labels, names
from dask_k8s_models.pods import WORKER_RESOURCES, main_container


def worker_template(
    group: WorkerGroup, address: str, dashboard_port: int | None = None, tls: TLS | None = None
) -> Object:
    """Return what the pods of a group have in common; they find their scheduler at that address.

    Workers that leave ask at the dashboard's port of the Service, if it offers one.
    """
    metadata = worker_pod_metadata(group)
    metadata["annotations"] |= {labels.TEMPLATE_HASH: group.worker_hash, labels.OFFERS: group.offers}
    metadata["annotations"] |= tls.annotations if tls else {}
    spec = secured(group.raw_spec["worker"]["spec"], tls)
    # A worker that was retired exits with 0: it must not be started again.
    spec.setdefault("restartPolicy", "OnFailure")
    spec.setdefault("enableServiceLinks", False)
    grace = spec.setdefault("terminationGracePeriodSeconds", GRACE)
    variables = {"DASK_SCHEDULER_ADDRESS": address}
    variables |= {WORKER_RESOURCES: repr(dict(group.resources))} if group.resources else {}
    main = main_container(spec, "worker", metadata["annotations"])
    containers = spec["containers"]
    if dashboard_port is not None:
        host = names.scheduler_host(group.cluster, group.meta.namespace)
        authority = AUTHORITY if tls and tls.https else ""
        shares_address = bool(spec.get("hostNetwork"))
        leaving = with_leaving(
            {**main}, host, dashboard_port, grace, authority, shares_address=shares_address
        )
        containers = [leaving if container is main else container for container in containers]
    spec["containers"] = [with_env(container, variables) for container in containers]
    return child(group, "v1", "Pod", "", metadata, spec=spec)


def worker_pod(template: Object, name: str) -> Object:
    """Return a worker's pod. It shares parts with others: it is not to be changed."""
    variables = {"DASK_WORKER_NAME": name}
    containers = [with_env(container, variables) for container in template["spec"]["containers"]]
    metadata = {**template["metadata"], "name": name}
    return {**template, "metadata": metadata, "spec": {**template["spec"], "containers": containers}}


def worker_pod_metadata(group: WorkerGroup) -> Object:
    """The labels and annotations of a worker's pod that follow the group's."""
    base = labels.worker(group.cluster, group.name)
    return inherited(group, group.raw_spec["worker"], base, is_pod=True)


def budget_of(group: WorkerGroup) -> Unread:
    """Return the budget by which only so many of a group's workers may be evicted at the same time."""
    asked = group.spec.worker.disruptionBudget if group.spec else None
    # A worker that never becomes ready holds nothing, and must not keep a node from being drained.
    allowed: Object = {"unhealthyPodEvictionPolicy": "AlwaysAllow"}
    spec = {"maxUnavailable": asked.maxUnavailable, **allowed} if asked else None
    return disruption_budget(group, group.name, labels.worker(group.cluster, group.name), spec)
