"""ResourceQuotas refuse what would exceed them."""

from __future__ import annotations

from decimal import Decimal

from dask_k8s_local import quantity
from dask_k8s_local.api import errors
from dask_k8s_local.api.resource import Resource
from dask_k8s_local.api.storage.store import Store
from dask_k8s_local.interfaces import Object
from dask_k8s_local.workloads.quotas import counted_resource, unspecified, usage, use


def admit(store: Store, resource: Resource, namespace: str, body: Object) -> None:
    """Refuse an object if a quota of its namespace leaves no room for it."""
    for revision in store.collection("resourcequotas").revisions():
        if revision.key[0] == namespace:
            _ask(store, revision.object, resource, namespace, body)


def _ask(store: Store, quota: Object, resource: Resource, namespace: str, body: Object) -> None:
    hard = {
        name: quantity.parse(limit)
        for name, limit in ((quota.get("spec") or {}).get("hard") or {}).items()
        if counted_resource(name) == resource.full_name
    }
    if not hard:
        return
    quota_name = quota["metadata"]["name"]
    name = body["metadata"].get("name", "")
    if resource.full_name == "pods":
        missing = [
            f"{entry} for: {','.join(found)}" for entry in hard if (found := list(unspecified(entry, body)))
        ]
        if missing:
            raise errors.forbidden(
                resource, name, f"failed quota: {quota_name}: must specify {'; '.join(missing)}"
            )
    used = usage(
        hard,
        lambda wanted: (
            one.object for one in store.collection(wanted).revisions() if one.key[0] == namespace
        ),
    )
    asked = {entry: use(entry, body) for entry in hard}
    exceeded = [entry for entry in sorted(hard) if asked[entry] and used[entry] + asked[entry] > hard[entry]]
    if exceeded:
        raise errors.forbidden(
            resource,
            name,
            f"exceeded quota: {quota_name}, requested: {_told(asked, exceeded)}, "
            f"used: {_told(used, exceeded)}, limited: {_told(hard, exceeded)}",
        )


def _told(amounts: dict[str, Decimal], names: list[str]) -> str:
    return ",".join(f"{name}={quantity.canonical(format(amounts[name], 'f'))}" for name in names)
