"""A cluster's NetworkPolicy: who reaches its scheduler and workers. Pure.

https://kubernetes.io/docs/concepts/services-networking/network-policies/. It says nothing of what pods reach
themselves, so that names are found as before.
"""

from __future__ import annotations

from dask_k8s_controller.cluster.observe import ObservedCluster
from dask_k8s_controller.cluster.spec import Cluster
from dask_k8s_controller.plans.actions import Object
from dask_k8s_controller.plans.ownership import child
from dask_k8s_controller.plans.unread import NO_POD, Unread
from dask_k8s_controller.settings import Policy
from dask_k8s_models import labels, names
from dask_k8s_models.labels import Component


def policy_of(cluster: Cluster, peers: list[Object]) -> Unread:
    """Return the policy of a cluster's pods that lets these through, as items of ``from``."""
    guarded = _pods(cluster, Component.SCHEDULER, Component.WORKER)
    is_asked = "networkPolicy" in cluster.raw_spec
    wanted = _network_policy(cluster, guarded, [{"from": peers}]) if is_asked else None
    return Unread("networkPolicyName", wanted, _network_policy(cluster, NO_POD, []))


def _network_policy(cluster: Cluster, pods: Object, ingress: list[Object]) -> Object:
    metadata = {"labels": labels.merged(cluster.meta.labels, None, {labels.CLUSTER_NAME: cluster.name})}
    spec = {"podSelector": pods, "policyTypes": ["Ingress"], "ingress": ingress}
    name = names.network_policy(cluster.name)
    return child(cluster, "networking.k8s.io/v1", "NetworkPolicy", name, metadata, spec=spec)


def peers_of(observed: ObservedCluster, policy: Policy) -> list[Object]:
    """Return whom the policy lets through: the cluster's own pods, its clients, the operator, and others."""
    cluster, operator_namespace = observed.subject, observed.operator_namespace
    own = _pods(cluster, Component.SCHEDULER, Component.WORKER, Component.JOB_RUNNER)
    peers: list[Object] = [
        {"podSelector": own},
        {"podSelector": {"matchLabels": {labels.CLIENT_OF: cluster.name}}},
    ]
    if operator_namespace:
        peers.append(
            {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": operator_namespace}},
                "podSelector": {"matchLabels": dict([policy.operator_label.partition("=")[::2]])},
            }
        )
    return [*peers, *((cluster.raw_spec.get("networkPolicy") or {}).get("peers") or ())]


def _pods(cluster: Cluster, *components: Component) -> Object:
    among = {"key": labels.COMPONENT, "operator": "In", "values": [one.value for one in components]}
    return {"matchLabels": {labels.CLUSTER_NAME: cluster.name}, "matchExpressions": [among]}
