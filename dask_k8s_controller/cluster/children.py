"""The objects that are made for a DaskCluster, each a pure function of the cluster."""

from __future__ import annotations

import ast
import copy
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from dask_k8s_controller.cache.objects import Service
from dask_k8s_controller.cluster.spec import Cluster
from dask_k8s_controller.cluster.tls import TLS, probed_by_https, secured
from dask_k8s_controller.plans.actions import Object
from dask_k8s_controller.plans.metadata import inherited, with_env
from dask_k8s_controller.plans.ownership import child
from dask_k8s_controller.plans.unread import Unread, disruption_budget
from dask_k8s_models import labels, names, pods, service
from dask_k8s_models.commands import option
from dask_k8s_models.hashes import digest
from dask_k8s_models.resource import API_VERSION

HTTP_ROUTES = "DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES"
SCHEDULER_ROUTES = (
    "distributed.http.scheduler.prometheus",
    "distributed.http.scheduler.info",
    "distributed.http.scheduler.json",
    "distributed.http.health",
    "distributed.http.proxy",
    "distributed.http.statics",
    "distributed.http.scheduler.api",
)
"""distributed's own routes and, last, the ones to retire workers by: the variable replaces the whole list.

https://distributed.dask.org/en/stable/http_services.html
"""

PRELOADS = "DASK_DISTRIBUTED__SCHEDULER__PRELOAD"
PRELOAD_SOURCE = "KUBERNETES_DASK_SCHEDULER_PRELOAD"
PRELOAD = f"import os; exec(os.environ['{PRELOAD_SOURCE}'], globals())"
"""What the scheduler loads: a line that loads the rest, as the scheduler writes it into its log."""


def scheduler_address(cluster: Cluster, tls: TLS | None = None) -> str:
    """Where workers and clients in the same Kubernetes cluster reach a cluster's scheduler."""
    port = service.comm_port(cluster.raw_spec["scheduler"].get("service"))
    return names.scheduler_address(
        cluster.name,
        cluster.meta.namespace,
        port["port"] if port else names.SCHEDULER_PORT,
        "tls" if tls else cluster.once(_protocol),
    )


def _protocol(cluster: Cluster) -> str:
    scheduler = cluster.raw_spec["scheduler"]
    return pods.scheduler_protocol(scheduler["spec"], _annotations(scheduler))


def dashboard_address(cluster: Cluster, tls: TLS | None = None) -> str | None:
    """Where a cluster's dashboard is reached; None if its Service doesn't offer it."""
    port = service.dashboard_port(cluster.raw_spec["scheduler"].get("service"))
    if port is None:
        return None
    address = names.dashboard_address(
        cluster.name, cluster.meta.namespace, port["port"], "https" if tls and tls.https else "http"
    )
    return address + cluster.once(_prefix)


def _prefix(cluster: Cluster) -> str:
    scheduler = cluster.raw_spec["scheduler"]
    return pods.dashboard_prefix(scheduler["spec"], _annotations(scheduler))


def _annotations(scheduler: Mapping[str, Any]) -> Mapping[str, str] | None:
    return (scheduler.get("metadata") or {}).get("annotations")


def scheduler_service(cluster: Cluster) -> Object:
    """The Service by which workers and clients reach the scheduler, as it is applied."""
    scheduler = cluster.raw_spec["scheduler"]
    spec = copy.deepcopy(scheduler.get("service") or {})
    spec["selector"] = spec.get("selector") or labels.scheduler(cluster.name)
    if not spec.get("ports"):
        spec["ports"] = service.default_ports(scheduler["spec"])
    metadata = inherited(cluster, scheduler, labels.scheduler(cluster.name))
    del metadata["annotations"][labels.PROPAGATED]  # Applied as a whole: nothing has to be remembered.
    applied = child(cluster, "v1", "Service", names.scheduler(cluster.name), metadata, spec=spec)
    metadata["annotations"][labels.APPLIED] = digest(applied)
    return applied


def is_applied(desired: Object, live: Service) -> bool:
    """Whether a Service is as it was applied: nothing was changed by others, nothing has to go."""
    return (
        live.meta.annotations.get(labels.APPLIED) == desired["metadata"]["annotations"][labels.APPLIED]
        and _holds(desired["metadata"]["labels"], live.meta.labels)
        and _holds(desired["metadata"]["annotations"], live.meta.annotations)
        and _holds(desired["spec"], live.spec)
    )


def _holds(desired: Any, live: Any) -> bool:
    """Whether ``live`` has all that ``desired`` has; the API server may have added to it."""
    if isinstance(desired, Mapping):
        return isinstance(live, Mapping) and all(
            _holds(value, live.get(key)) for key, value in desired.items()
        )
    if isinstance(desired, list):
        return isinstance(live, list) and len(desired) == len(live) and all(map(_holds, desired, live))
    return bool(desired == live)


def scheduler_pod(cluster: Cluster, suffix: str = "", tls: TLS | None = None) -> Object:
    """The pod of the scheduler; with a suffix if its name is still held by a dying one."""
    spec = copy.deepcopy(cluster.raw_spec["scheduler"]["spec"])
    spec.setdefault("enableServiceLinks", False)
    chosen = pods.main_container(
        spec, labels.Component.SCHEDULER, _annotations(cluster.raw_spec["scheduler"])
    )
    index = [container is chosen for container in spec["containers"]].index(True)
    spec["containers"][index] = with_env(chosen, _scheduler_env(chosen))
    spec = secured(spec, tls, [index], serves=True)
    if tls is not None and tls.https:
        spec["containers"][index] = probed_by_https(spec["containers"][index])
    metadata = scheduler_pod_metadata(cluster)
    metadata["annotations"] |= tls.annotations if tls else {}
    metadata["annotations"][labels.TEMPLATE_HASH] = cluster.scheduler_hash
    if labels.RESTART in cluster.meta.annotations:
        metadata["annotations"][labels.RESTART] = cluster.meta.annotations[labels.RESTART]
    return child(cluster, "v1", "Pod", names.scheduler(cluster.name, suffix), metadata, spec=spec)


def _scheduler_env(container: Mapping[str, Any]) -> dict[str, str]:
    has_own_preloads = any(variable["name"] == PRELOADS for variable in container.get("env") or ())
    if has_own_preloads or option(container, "--preload"):
        # Then ours isn't loaded, which adds to the routes that there are.
        return {HTTP_ROUTES: repr(list(SCHEDULER_ROUTES))}
    return {PRELOADS: repr([PRELOAD]), PRELOAD_SOURCE: preload_source()}


def tls_secret(cluster: Cluster) -> Object:
    """The Secret with a certificate of the cluster's own, as it is created: without it."""
    metadata = {"labels": labels.merged(cluster.meta.labels, None, {labels.CLUSTER_NAME: cluster.name})}
    return child(cluster, "v1", "Secret", names.tls_secret(cluster.name), metadata, type="kubernetes.io/tls")


def budget_of(cluster: Cluster) -> Unread:
    """Return the budget by which a cluster's scheduler may not be evicted, if the user asks for it."""
    is_asked = cluster.spec is not None and cluster.spec.scheduler.disruptionBudget is not None
    spec = {"maxUnavailable": 0} if is_asked else None
    return disruption_budget(cluster, names.scheduler(cluster.name), labels.scheduler(cluster.name), spec)


def is_own_secret(cluster: Cluster, name: str) -> bool:
    """Whether a Secret is called as those that the controller makes for a cluster."""
    own = names.tls_secret(cluster.name)
    return name == own or name.startswith(f"{own}-")


@cache
def preload_source() -> str:
    """Return the source of `scheduler.demand` and `scheduler.preload` as one, without words for people."""
    folder = resources.files("dask_k8s_controller.scheduler")
    return "\n".join(_bare(folder.joinpath(f"{module}.py").read_text()) for module in ("demand", "preload"))


def _bare(source: str) -> str:
    """Return a module's source without docstrings, and without imports of ours."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node):
            del node.body[0]
    tree.body = [node for node in tree.body if not _is_import_of_ours(node)]
    return ast.unparse(tree)


def _is_import_of_ours(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dask_k8s_")


def scheduler_pod_metadata(cluster: Cluster) -> Object:
    """The labels and annotations of a scheduler's pod that follow the cluster's."""
    part = cluster.raw_spec["scheduler"]
    return inherited(cluster, part, labels.scheduler(cluster.name), is_pod=True)


def default_group(cluster: Cluster) -> Object:
    """The cluster's default group of workers, as it is created."""
    replicas = cluster.spec.worker.replicas if cluster.spec else 0
    metadata = default_group_metadata(cluster)
    metadata["annotations"][labels.CLUSTER_REPLICAS] = str(replicas)
    worker = {**copy.deepcopy(cluster.raw_spec["worker"]), "replicas": replicas}
    spec = {"cluster": cluster.name, "worker": worker}
    return child(cluster, API_VERSION, "DaskWorkerGroup", cluster.default_group, metadata, spec=spec)


def default_group_metadata(cluster: Cluster) -> Object:
    """The labels and annotations of a default group that follow the cluster's."""
    base = labels.worker_group(cluster.name, cluster.default_group)
    return inherited(cluster, cluster.raw_spec["worker"], base)
