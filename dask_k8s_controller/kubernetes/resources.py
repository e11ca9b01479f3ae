"""The kinds of objects that the controller reads and writes, and their URLs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote


@dataclass(frozen=True)
class Resource:
    """A kind of objects as the API server calls it."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """Return what stands in ``apiVersion``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None, name: str | None = None, subresource: str = "") -> str:
        """Return the URL's path of a collection or an object."""
        parts = [f"/apis/{self.group}" if self.group else "/api", self.version]
        if namespace is not None:
            parts += ["namespaces", quote(namespace)]
        parts.append(self.plural)
        if name is not None:
            parts.append(quote(name, safe=""))
        if subresource:
            parts.append(subresource)
        return "/".join(parts)

    def __str__(self) -> str:
        return self.kind


PODS = Resource("", "v1", "pods", "Pod")
SERVICES = Resource("", "v1", "services", "Service")
NODES = Resource("", "v1", "nodes", "Node")
SECRETS = Resource("", "v1", "secrets", "Secret")
NETWORK_POLICIES = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
DISRUPTION_BUDGETS = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
EVENTS = Resource("", "v1", "events", "Event")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
REVIEWS = Resource("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview")
CLUSTERS = Resource("kubernetes.dask.org", "v1", "daskclusters", "DaskCluster")
GROUPS = Resource("kubernetes.dask.org", "v1", "daskworkergroups", "DaskWorkerGroup")
JOBS = Resource("kubernetes.dask.org", "v1", "daskjobs", "DaskJob")
AUTOSCALERS = Resource("kubernetes.dask.org", "v1", "daskautoscalers", "DaskAutoscaler")

WATCHED = (CLUSTERS, GROUPS, JOBS, AUTOSCALERS, PODS, SERVICES, NODES)

OPTIONAL = frozenset({NODES})
"""What of them is watched where that is allowed, and done without elsewhere."""

BY_KIND = {resource.kind: resource for resource in (*WATCHED, SECRETS, NETWORK_POLICIES, DISRUPTION_BUDGETS)}
"""The kinds that plans are about."""


class Key(NamedTuple):
    """Which object to reconcile."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"
