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


class WorkerTemplate:
    """Makes the pods of a group, which find their scheduler at that address.

    Parameters
    ----------
    group : WorkerGroup
        The group.
    address : str
        The scheduler's address.
    dashboard_port : int, optional
        The Service's port for HTTP, where workers that leave ask; None if it offers none.
    tls : TLS, optional
        How they speak TLS; None if they don't.
    """

    def __init__(
        self, group: WorkerGroup, address: str, dashboard_port: int | None = None, tls: TLS | None = None
    ) -> None:
        self._address = address
        metadata = worker_pod_metadata(group)
        metadata["annotations"][labels.TEMPLATE_HASH] = group.worker_hash
        metadata["annotations"] |= tls.annotations if tls else {}
        self._frame = child(group, "v1", "Pod", "", metadata)
        resources = group.raw_spec["worker"].get("resources")
        self._offers = {WORKER_RESOURCES: repr(resources)} if resources else {}
        self._spec = secured(group.raw_spec["worker"]["spec"], tls)
        # A worker that was retired exits with 0: it must not be started again.
        self._spec.setdefault("restartPolicy", "OnFailure")
        self._spec.setdefault("enableServiceLinks", False)
        grace = self._spec.setdefault("terminationGracePeriodSeconds", GRACE)
        if dashboard_port is not None:
            host = names.scheduler_host(group.cluster, group.meta.namespace)
            main = main_container(self._spec, "worker", metadata["annotations"])
            authority = AUTHORITY if tls and tls.https else ""
            self._spec["containers"] = [
                with_leaving(container, host, dashboard_port, grace, authority)
                if container == main
                else container
                for container in self._spec["containers"]
            ]

    def pod(self, name: str) -> Object:
        """Return a pod of that name. It shares parts with others: it is not to be changed."""
        variables = {"DASK_WORKER_NAME": name, "DASK_SCHEDULER_ADDRESS": self._address, **self._offers}
        containers = [with_env(container, variables) for container in self._spec["containers"]]
        metadata = {**self._frame["metadata"], "name": name}
        return {**self._frame, "metadata": metadata, "spec": {**self._spec, "containers": containers}}


def worker_pod(group: WorkerGroup, name: str, address: str, tls: TLS | None = None) -> Object:
    """A worker's pod, which finds its scheduler at that address."""
    return WorkerTemplate(group, address, tls=tls).pod(name)


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
