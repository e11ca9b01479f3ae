"""The rights that the controller needs, and what for: roles and documentation are made of this table.

https://kubernetes.io/docs/reference/access-authn-authz/rbac/. There is no wildcard, and no right to read
Secrets.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

DASK = "kubernetes.dask.org"

READ = ("get", "list", "watch")
FOLLOW = ("list", "watch")


class Where(Enum):
    """Where a right must hold."""

    WATCHED = "in each namespace that is watched"
    CLUSTER = "in the whole cluster; not needed where only named namespaces are watched"
    OWN = "in the controller's own namespace, for leader election"
    OUTSIDE = "in each namespace that is watched, by a controller that runs outside the cluster"


@dataclass(frozen=True)
class Right:
    """Some verbs on a resource, as RBAC calls them, and what they are for."""

    group: str
    resource: str
    """A subresource follows a slash."""
    verbs: tuple[str, ...]
    purpose: str
    """What for: part of a sentence."""
    where: Where = Where.WATCHED


def _makes(owner: str) -> str:
    return f"children that block its deletion: OpenShift asks for this right to {owner}"


RIGHTS: dict[str, tuple[Right, ...]] = {
    "DaskCluster": (
        Right(DASK, "daskclusters", FOLLOW, "what is asked for"),
        Right(DASK, "daskclusters", ("get", "delete"), "`idleTimeout`"),
        Right(DASK, "daskclusters/status", ("patch",), "its status"),
        Right(DASK, "daskclusters/finalizers", ("update",), _makes("clusters")),
        Right("", "pods", (*READ, "create", "patch", "delete"), "its scheduler"),
        Right("", "services", (*READ, "create", "patch", "delete"), "its Service"),
        Right(
            "", "secrets", ("create",), "its certificate and key, with `tls`: they are written, never read"
        ),
        Right("networking.k8s.io", "networkpolicies", ("create", "patch"), "`networkPolicy`"),
        Right("policy", "poddisruptionbudgets", ("create", "patch"), "`scheduler.disruptionBudget`"),
        Right(DASK, "daskworkergroups", (*READ, "create", "patch", "delete"), "its groups"),
        Right(DASK, "daskautoscalers", (*READ, "patch"), "the autoscalers that go with it"),
    ),
    "DaskWorkerGroup": (
        Right(DASK, "daskworkergroups", FOLLOW, "what is asked for"),
        Right(DASK, "daskworkergroups/status", ("patch",), "its status"),
        Right(DASK, "daskworkergroups/finalizers", ("update",), _makes("groups")),
        Right("", "pods", (*READ, "create", "patch", "delete"), "its workers"),
        Right("policy", "poddisruptionbudgets", ("create", "patch"), "`worker.disruptionBudget`"),
    ),
    "DaskJob": (
        Right(DASK, "daskjobs", FOLLOW, "what is asked for"),
        Right(DASK, "daskjobs", ("get", "delete"), "`ttlSecondsAfterFinished`"),
        Right(DASK, "daskjobs/status", ("patch",), "its status"),
        Right(DASK, "daskjobs/finalizers", ("update",), _makes("jobs")),
        Right(DASK, "daskclusters", (*READ, "create", "patch", "delete"), "its cluster"),
        Right("", "pods", (*READ, "create", "patch", "delete"), "its runner"),
    ),
    "DaskAutoscaler": (
        Right(DASK, "daskautoscalers", FOLLOW, "what is asked for"),
        Right(DASK, "daskautoscalers/status", ("patch",), "its status"),
        Right(DASK, "daskworkergroups", ("get",), "the group that it scales"),
        Right(DASK, "daskworkergroups/scale", ("patch",), "the group's replicas"),
    ),
    "All kinds": (
        Right("", "events", ("create",), "what happened, for `kubectl describe`"),
        Right(
            "",
            "nodes",
            FOLLOW,
            "nodes that are about to go, whose workers are replaced before",
            Where.CLUSTER,
        ),
        Right("", "namespaces", FOLLOW, "namespaces that come and go", Where.CLUSTER),
        Right(
            "apiextensions.k8s.io",
            "customresourcedefinitions",
            FOLLOW,
            "custom resource definitions that are installed later",
            Where.CLUSTER,
        ),
        Right("coordination.k8s.io", "leases", ("get", "create", "patch"), "its Lease", Where.OWN),
        Right("", "pods/proxy", ("get", "create"), "the way to schedulers", Where.OUTSIDE),
    ),
}
"""What is needed, by the kind that it is needed for."""

KINDS = ("daskautoscalers", "daskclusters", "daskjobs", "daskworkergroups")

USER_VERBS: dict[str, tuple[str, ...]] = {
    "admin": (*READ, "create", "delete", "deletecollection", "patch", "update"),
    "edit": (*READ, "create", "delete", "deletecollection", "patch", "update"),
    "view": READ,
}
"""What users may do with the four kinds, by the role of Kubernetes that says so for pods."""

Rule = dict[str, list[str]]


def rules(*where: Where, kinds: Iterable[str] = tuple(RIGHTS)) -> list[Rule]:
    """Return the rules of a role for some places and kinds, as few as say it all."""
    verbs: dict[tuple[str, str], set[str]] = {}
    for right in (right for kind in kinds for right in RIGHTS[kind] if right.where in where):
        verbs.setdefault((right.group, right.resource), set()).update(right.verbs)
    alike: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (group, resource), found in sorted(verbs.items()):
        alike.setdefault((group, tuple(sorted(found))), []).append(resource)
    return [
        {"apiGroups": [group], "resources": resources, "verbs": list(found)}
        for (group, found), resources in alike.items()
    ]


def user_rules(role: str) -> list[Rule]:
    """Return the rules for users of the role admin, edit or view."""
    verbs = list(USER_VERBS[role])
    scaling = [verb for verb in verbs if verb in ("get", "patch", "update")]
    return [
        {"apiGroups": [DASK], "resources": list(KINDS), "verbs": verbs},
        {
            "apiGroups": [DASK],
            "resources": [f"{kind}/scale" for kind in ("daskclusters", "daskworkergroups")],
            "verbs": scaling,
        },
        {"apiGroups": [DASK], "resources": [f"{kind}/status" for kind in KINDS], "verbs": ["get"]},
    ]
