"""Which nodes are about to go, and which pods that concerns. Pure.

A node is leaving while it is cordoned (https://kubernetes.io/docs/concepts/architecture/nodes/), as `kubectl
drain` and most providers do first, or has a taint by which its end is announced. Its pods are told only when
they are evicted. A node that isn't ready is not leaving: it may come back.

A pod that could be bound to the node all the same, since it tolerates what announces the end or the taint is
a mere preference, isn't concerned: its successor might come to the very same node.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
"""The taint of a node that is cordoned."""

ANNOUNCING = frozenset(
    {
        UNSCHEDULABLE,
        # https://kubernetes.io/docs/reference/labels-annotations-taints/#node-kubernetes-io-out-of-service
        "node.kubernetes.io/out-of-service",
        # https://karpenter.sh/docs/concepts/disruption/, and its name before Karpenter 1.0
        "karpenter.sh/disrupted",
        "karpenter.sh/disruption",
        # https://pkg.go.dev/k8s.io/autoscaler/cluster-autoscaler/utils/taints: a candidate for deletion
        # (DeletionCandidateOfClusterAutoscaler) is not yet leaving
        "ToBeDeletedByClusterAutoscaler",
        # https://github.com/aws/aws-node-termination-handler, with taintNode
        "aws-node-termination-handler/spot-itn",
        "aws-node-termination-handler/scheduled-maintenance",
        "aws-node-termination-handler/asg-lifecycle-termination",
        "aws-node-termination-handler/rebalance-recommendation",
        # https://github.com/GoogleCloudPlatform/k8s-node-termination-handler
        "cloud.google.com/impending-node-termination",
    }
)
"""Keys of the taints that announce a node's end; whoever runs the controller may add others."""

BINDING = ("NoSchedule", "NoExecute")
"""The effects of taints that keep pods away: https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/."""


class Taint(NamedTuple):
    """A taint."""

    key: str
    effect: str
    value: str = ""


class Toleration(NamedTuple):
    """What a pod tolerates; an empty key or effect stands for all."""

    key: str
    effect: str
    operator: str
    value: str

    def covers(self, taint: Taint) -> bool:
        """Whether it tolerates a taint."""
        if self.key not in ("", taint.key) or self.effect not in ("", taint.effect):
            return False
        return self.operator == "Exists" or (bool(self.key) and self.value == taint.value)


def announcements(node_spec: Mapping[str, Any], keys: Collection[str] = ANNOUNCING) -> tuple[Taint, ...]:
    """Return the taints by which a node's end is announced; none while it stays."""
    taints = {
        Taint(taint["key"], taint.get("effect") or "", taint.get("value") or "")
        for taint in node_spec.get("taints") or ()
        if taint["key"] in keys and taint.get("effect") in BINDING
    }
    if node_spec.get("unschedulable"):
        taints.add(Taint(UNSCHEDULABLE, "NoSchedule"))
    return tuple(sorted(taints))


def tolerations(pod_spec: Mapping[str, Any], keys: Collection[str] = ANNOUNCING) -> tuple[Toleration, ...]:
    """Return those of a pod's tolerations that may be about a node's end."""
    return tuple(
        Toleration(
            one.get("key") or "",
            one.get("effect") or "",
            one.get("operator") or "Equal",
            one.get("value") or "",
        )
        for one in pod_spec.get("tolerations") or ()
        if not one.get("key") or one["key"] in keys
    )
