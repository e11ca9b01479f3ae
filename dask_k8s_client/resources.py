"""The kinds of objects that the client deals with, as URLs name them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Resource:
    """A kind of object, as URLs name it."""

    plural: str
    base: str = "/api/v1"
    namespaced: bool = True

    def path(self, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
        """Return the path of all objects (no namespace), those of a namespace, or one of them."""
        within = f"namespaces/{namespace}" if namespace and self.namespaced else ""
        return "/".join(part for part in (self.base, within, self.plural, name, subresource) if part)


_DASK = "/apis/kubernetes.dask.org/v1"
CLUSTERS = Resource("daskclusters", _DASK)
GROUPS = Resource("daskworkergroups", _DASK)
JOBS = Resource("daskjobs", _DASK)
AUTOSCALERS = Resource("daskautoscalers", _DASK)
PODS = Resource("pods")
SERVICES = Resource("services")
SECRETS = Resource("secrets")
EVENTS = Resource("events")
NODES = Resource("nodes", namespaced=False)
