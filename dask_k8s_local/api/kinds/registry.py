"""What is served right now: Kubernetes' own resources, and those of the CRDs in the store."""

from __future__ import annotations

from collections.abc import Iterator

from dask_k8s_local.api.kinds.behaviour import served_builtins
from dask_k8s_local.api.kinds.custom import served_versions
from dask_k8s_local.api.kinds.served import Served
from dask_k8s_local.api.schema.decode import decode
from dask_k8s_local.api.storage.store import Event, Store

CRDS = "customresourcedefinitions.apiextensions.k8s.io"


class Registry:
    """Finds a resource by path, by name or by kind; follows the CRDs as they come and go."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_path: dict[tuple[str, str, str], Served] = {}
        self._by_name: dict[str, Served] = {}
        self._by_kind: dict[tuple[str, str], Served] = {}
        for served in served_builtins(store):
            self._add(served)
        store.collection(CRDS).listen(self._crd_changed)

    def at(self, group: str, version: str, plural: str) -> Served | None:
        return self._by_path.get((group, version, plural))

    def named(self, full_name: str) -> Served | None:
        """Find a resource by what kubectl calls it in full: ``pods``, ``deployments.apps``."""
        return self._by_name.get(full_name)

    def of_kind(self, api_version: str, kind: str) -> Served | None:
        return self._by_kind.get((api_version, kind))

    def __iter__(self) -> Iterator[Served]:
        return iter(self._by_path.values())

    def _add(self, served: Served) -> None:
        resource = served.resource
        self._by_path[resource.group, resource.version, resource.plural] = served
        self._by_kind[resource.api_version, resource.kind] = served
        self._by_name.setdefault(resource.full_name, served)

    def _remove(self, full_name: str) -> None:
        for path, served in list(self._by_path.items()):
            if served.resource.full_name == full_name:
                del self._by_path[path]
                self._by_kind.pop((served.resource.api_version, served.resource.kind), None)
        self._by_name.pop(full_name, None)

    def _crd_changed(self, event: Event) -> None:
        crd, before = event.now.object, event.before
        name = crd["metadata"]["name"]
        if event.type == "DELETED":
            self._remove(name)
            self._store.drop(name)
        elif before is None or crd["spec"] != before.object["spec"]:
            self._remove(name)
            for served in served_versions(crd):
                self._add(served)
            self._refresh(name)

    def _refresh(self, name: str) -> None:
        """Let what is stored follow a changed schema: pruned, and with new defaults."""
        served, collection = self._by_name.get(name), self._store.collection(name)
        for revision in list(collection.revisions()) if served else ():
            assert served is not None
            body = decode(served.schema, revision.object, [])
            if body != revision.object:
                collection.refresh(revision.key, body)
