"""Labels and annotations: their keys, their values, and how they flow from an object to its children."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

CLUSTER_NAME = "dask.org/cluster-name"
COMPONENT = "dask.org/component"
WORKER_GROUP_NAME = "dask.org/workergroup-name"
ISTIO_INJECT = "sidecar.istio.io/inject"

RESERVED_LABELS = frozenset({CLUSTER_NAME, COMPONENT, WORKER_GROUP_NAME})
"""Labels that only the controller gives: objects are found by them."""

CLUSTER_REPLICAS = "dask.org/cluster-replicas"
"""Annotation of a default group: the cluster's replicas that were handed on to it last."""

RETIRING = "dask.org/retiring"
"""Annotation of a worker pod chosen for retirement: a restarted controller goes on from there."""

RESTART = "dask.org/restart"
"""Annotation of a DaskCluster: when its value changes, a changed scheduler is replaced though busy."""

TLS_SECRET = "dask.org/tls-secret"
"""Annotation of a pod: the Secret whose certificate it speaks TLS with."""

HTTPS = "dask.org/https"
"""Annotation of a scheduler's pod that serves HTTPS: the digest of its certificate, if that is known."""

CERTIFICATE_ENDS = "dask.org/certificate-ends"
"""Annotation of a scheduler's pod: when the certificate that it was started with ends."""

CLIENT_OF = "dask.org/client-of"
"""Label of any pod that the NetworkPolicy of the cluster of that name lets through."""

TEMPLATE_HASH = "dask.org/template-hash"
"""Annotation of a pod: the pod spec of the user that it was made from."""

OFFERS = "dask.org/offers"
"""Annotation of a worker's pod: a digest of what its group says that its workers offer."""

APPLIED = "dask.org/applied"
"""Annotation of a child that is applied: a digest of what was applied last."""

PROPAGATED = "dask.org/propagated"
"""Annotation of a child: the keys that were handed on to it, so that they can be taken away again."""

ADAPTED_UNTIL = "dask.org/adapted-until"
"""Annotation of a worker group: when a client has ended its autoscaling to scale it."""

OWN_ANNOTATIONS = frozenset(
    {
        ADAPTED_UNTIL,
        APPLIED,
        CERTIFICATE_ENDS,
        CLUSTER_REPLICAS,
        HTTPS,
        OFFERS,
        PROPAGATED,
        RETIRING,
        RESTART,
        TEMPLATE_HASH,
        TLS_SECRET,
    }
)

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
"""Annotation of a pod, and of the ``metadata`` beside a pod spec: the container that matters.

https://kubernetes.io/docs/reference/labels-annotations-taints/#kubectl-kubernetes-io-default-container
"""

PRIVATE_PREFIXES = ("kopf.zalando.org", "kubectl.kubernetes.io")
"""Annotations that begin so speak about the very object that they are on."""

GITOPS_DOMAINS = (
    "argocd.argoproj.io",
    "configmanagement.gke.io",
    "configsync.gke.io",
    "fleet.cattle.io",
    "kapp.k14s.io",
    "meta.helm.sh",
    "objectset.rio.cattle.io",
    "toolkit.fluxcd.io",
)
"""Domains, with subdomains, by which tools track what they applied: a child with them would be pruned."""


class Component(StrEnum):
    """Values of the label ``dask.org/component``."""

    SCHEDULER = "scheduler"
    WORKER = "worker"
    WORKER_GROUP = "workergroup"
    JOB_RUNNER = "job-runner"
    AUTOSCALER = "autoscaler"


def scheduler(cluster: str) -> dict[str, str]:
    """Labels of a cluster's scheduler Pod and Service, and the Service's selector."""
    return {CLUSTER_NAME: cluster, COMPONENT: Component.SCHEDULER.value}


def worker_group(cluster: str, group: str) -> dict[str, str]:
    """Labels of a DaskWorkerGroup."""
    return {CLUSTER_NAME: cluster, WORKER_GROUP_NAME: group, COMPONENT: Component.WORKER_GROUP.value}


def worker(cluster: str, group: str) -> dict[str, str]:
    """Labels of a group's worker Pods."""
    return {CLUSTER_NAME: cluster, WORKER_GROUP_NAME: group, COMPONENT: Component.WORKER.value}


def job_runner(cluster: str) -> dict[str, str]:
    """Labels of a job's Pod."""
    return {CLUSTER_NAME: cluster, COMPONENT: Component.JOB_RUNNER.value}


def autoscaler(cluster: str) -> dict[str, str]:
    """Labels of a DaskAutoscaler."""
    return {CLUSTER_NAME: cluster, COMPONENT: Component.AUTOSCALER.value}


def selector(labels: Mapping[str, str]) -> str:
    """Write labels as a selector: ``key=value,key=value``."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def is_propagated(key: str) -> bool:
    """Whether a label or annotation of an object flows to its children."""
    domain = key.partition("/")[0]
    belongs_to_gitops = any(domain == gitops or domain.endswith(f".{gitops}") for gitops in GITOPS_DOMAINS)
    is_ours = key in RESERVED_LABELS or key in OWN_ANNOTATIONS
    return not (belongs_to_gitops or is_ours or key.startswith(PRIVATE_PREFIXES))


def propagated(labels_or_annotations: Mapping[str, str] | None) -> dict[str, str]:
    """Select what flows from an object to its children."""
    return {key: value for key, value in (labels_or_annotations or {}).items() if is_propagated(key)}


def merged(
    top_level: Mapping[str, str] | None,
    sub_resource: Mapping[str, str] | None,
    base: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Merge labels or annotations in the order ``top level <= sub-resource <= base``: the latter wins.

    Parameters
    ----------
    top_level : mapping, optional
        Those of the object that has the child, from its own ``metadata``.
    sub_resource : mapping, optional
        Those of e.g. ``spec.worker.metadata``.
    base : mapping, optional
        Those that the controller insists on, e.g. `scheduler`.

    Returns
    -------
    dict
        What the child carries.
    """
    about_the_pod = {key: value for key, value in (sub_resource or {}).items() if key == DEFAULT_CONTAINER}
    return {**propagated(top_level), **propagated(sub_resource), **about_the_pod, **(base or {})}


def merged_pod_labels(
    top_level: Mapping[str, str] | None, sub_resource: Mapping[str, str] | None, base: Mapping[str, str]
) -> dict[str, str]:
    """Merge as `merged`, with ``sidecar.istio.io/inject: "false"`` unless the user sets it.

    Istio's sidecar neither lets a job's pod end nor Dask's workers speak to each other.
    """
    return {ISTIO_INJECT: "false"} | merged(top_level, sub_resource, base)
