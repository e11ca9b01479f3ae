"""A cluster's NetworkPolicy: who reaches its scheduler and workers. Pure.

https://kubernetes.io/docs/concepts/services-networking/network-policies/. It says nothing of what pods reach
themselves, so that names are found as before. The controller may create and patch NetworkPolicies, not read
them: it applies what should be there when that changes, when the controller starts, and every now and then.
"""

from __future__ import annotations

from dask_k8s_controller.cluster.observe import ObservedCluster
from dask_k8s_controller.cluster.spec import Cluster
from dask_k8s_controller.plans.actions import ApplyUnread, Draft, Object
from dask_k8s_controller.plans.ownership import owner_reference
from dask_k8s_controller.settings import Policy
from dask_k8s_models import labels, names
from dask_k8s_models.hashes import digest
from dask_k8s_models.labels import Component

HEAL_AFTER = 600.0
"""Seconds until a policy is applied again, as somebody may have deleted it."""


def plan_network_policy(draft: Draft, observed: ObservedCluster, policy: Policy) -> None:
    """Apply the policy that is asked for; let everybody through if none is any more."""
    desired = wanted_policy(observed, policy)
    if desired is None:
        return
    applied = observed.applied_policy
    age = observed.monotonic - applied[1] if applied else 0.0
    if applied is None or applied[0] != digest(desired) or age >= HEAL_AFTER:
        draft.actions.append(ApplyUnread(desired))
    else:
        draft.requeue_after(HEAL_AFTER - age)


def wanted_policy(observed: ObservedCluster, policy: Policy) -> Object | None:
    """Return the policy as it is to be applied; None if there has never been one."""
    cluster = observed.cluster
    if "networkPolicy" in cluster.raw_spec:
        return network_policy(cluster, _peers(cluster, observed.operator_namespace, policy))
    # It can't be deleted without the right to.
    return network_policy(cluster, None) if cluster.status.get("networkPolicyName") else None


def name_of_policy(observed: ObservedCluster) -> str:
    """Return what the status says: the policy's name while there is one that keeps anybody out."""
    cluster, applied = observed.cluster, observed.applied_policy
    name = names.network_policy(cluster.name)
    if "networkPolicy" in cluster.raw_spec:
        return name if applied or cluster.status.get("networkPolicyName") else ""
    is_open = applied is not None and applied[0] == digest(network_policy(cluster, None))
    return "" if is_open else str(cluster.status.get("networkPolicyName") or "")


def network_policy(cluster: Cluster, peers: list[Object] | None) -> Object:
    """The policy that lets these through, or everybody.

    Parameters
    ----------
    cluster : Cluster
        Whose scheduler and workers it is about.
    peers : list of dict, optional
        Items of ``from``; None for everybody.
    """
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": names.network_policy(cluster.name),
            "namespace": cluster.meta.namespace,
            "labels": labels.merged(cluster.meta.labels, None, {labels.CLUSTER_NAME: cluster.name}),
            "ownerReferences": [owner_reference(cluster)],
        },
        "spec": {
            "podSelector": _pods(cluster, Component.SCHEDULER, Component.WORKER),
            "policyTypes": ["Ingress"],
            "ingress": [{} if peers is None else {"from": peers}],
        },
    }


def _peers(cluster: Cluster, operator_namespace: str, policy: Policy) -> list[Object]:
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
    return [*peers, *(cluster.raw_spec["networkPolicy"].get("peers") or ())]


def _pods(cluster: Cluster, *components: Component) -> Object:
    among = {"key": labels.COMPONENT, "operator": "In", "values": [one.value for one in components]}
    return {"matchLabels": {labels.CLUSTER_NAME: cluster.name}, "matchExpressions": [among]}
