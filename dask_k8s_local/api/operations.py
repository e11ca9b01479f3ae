"""What can be done with objects: read, create, update, patch and delete, each in one uninterrupted step.

Nothing here waits, so that every operation is atomic in the event loop; HTTP and the in-process client
both stand on it.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from dask_k8s_local.api import errors, metadata, names, ownership
from dask_k8s_local.api.admission import Admission
from dask_k8s_local.api.apply import apply
from dask_k8s_local.api.decode import decode
from dask_k8s_local.api.decoding import decoding_causes
from dask_k8s_local.api.ownership import Manager, Managers
from dask_k8s_local.api.resources import Resource
from dask_k8s_local.api.selectors import Selection, exact_name, matcher
from dask_k8s_local.api.store import Collection, Revision, Store, clone
from dask_k8s_local.api.strategy import Served
from dask_k8s_local.api.validation import validate
from dask_k8s_local.interfaces import ApiError, Object

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"


@dataclass
class Write:
    """How a client wants something written, and what it is told besides the answer."""

    field_manager: str = ""
    field_validation: str = "Ignore"
    dry_run: bool = False
    force: bool = False
    subresource: str = ""
    through: str = ""
    """A subresource that writes the whole object, as scale does; ``managedFields`` names it."""
    warnings: list[str] = field(default_factory=list)
    managers: Managers | None = None
    """Who owns what afterwards, if an apply has settled that."""
    created: bool = False


@dataclass(frozen=True)
class DeleteOptions:
    """How a client wants something deleted."""

    uid: str | None = None
    resource_version: str | None = None
    grace_period_seconds: int | None = None
    propagation_policy: str | None = None
    dry_run: bool = False


@dataclass(frozen=True)
class Deleted:
    """What a deletion left: the object as it is, or last was, and whether it is gone."""

    body: Object
    is_gone: bool


class Operations:
    """The verbs of the API, on the objects of a store."""

    def __init__(self, store: Store, admission: Admission) -> None:
        self.store = store
        self.admission = admission

    def get(self, served: Served, namespace: str, name: str) -> Revision:
        revision = self._collection(served).get((namespace, name))
        if revision is None:
            raise errors.not_found(served.resource, name)
        return revision

    def list(self, served: Served, selection: Selection) -> list[Revision]:
        collection = self._collection(served)
        name = exact_name(selection)
        if name is not None and (selection.namespace is not None or not served.resource.namespaced):
            found = collection.get((selection.namespace or "", name))
            return self._selected(served, selection, [found] if found else [])
        return self._selected(served, selection, collection.revisions())

    def list_at(self, served: Served, selection: Selection, version: int) -> builtins.list[Revision]:
        """List as of an earlier version; raise LookupError if it is forgotten."""
        return self._selected(served, selection, self._collection(served).revisions_at(version))

    def _selected(
        self, served: Served, selection: Selection, revisions: Iterable[Revision]
    ) -> builtins.list[Revision]:
        matches = matcher(served.resource, selection, served.selectable_fields)
        namespace = selection.namespace
        return [
            one
            for one in revisions
            if (namespace is None or one.key[0] == namespace) and (matches is None or matches(one.object))
        ]

    def create(self, served: Served, namespace: str, body: Object, write: Write) -> Revision:
        resource, strategy = served.resource, served.strategy
        new = self._checked(served, body, write)
        causes = decoding_causes(served, new)
        own = new.setdefault("metadata", {})
        if own.get("resourceVersion"):
            raise errors.bad_request("resourceVersion should not be set on objects to be created")
        _check_namespace(resource, own, namespace)
        metadata.fill_for_create(own, resource, namespace)
        if own.get("generateName") and not own.get("name"):
            own["name"] = names.generated(own["generateName"])
        strategy.prepare_for_create(new)
        strategy.default(new)
        if strategy.has_generation:
            own["generation"] = 1
        self.admission.mutate(resource, namespace, new)
        self.admission.admit_create(resource, namespace, new)
        causes += metadata.validate(own, resource, strategy.valid_name)
        if resource.custom:
            causes += validate(served.schema, new)
        causes += strategy.validate(new)
        causes += strategy.validate_rules(new, None, causes)
        if causes:
            raise errors.invalid(resource, own.get("name", ""), causes)
        collection = self._collection(served)
        key = (namespace if resource.namespaced else "", own["name"])
        if collection.get(key) is not None:
            raise errors.already_exists(resource, own["name"])
        write.warnings.extend(strategy.warnings(new, None))
        if resource.custom:
            write.warnings.extend(metadata.warnings(own, {}))
        claims = {
            name: value for name, value in new.items() if not (strategy.has_status and name == "status")
        }
        self._own(served, {}, claims, own, write)
        strategy.allocate(new)
        if write.dry_run:
            return Revision(key, self.store.version, 0, new)
        return collection.put(key, new)

    def update(self, served: Served, namespace: str, name: str, body: Object, write: Write) -> Revision:
        """Replace an object."""
        old = self.get(served, namespace, name)
        sent = body.get("metadata") or {}
        if sent.get("name", name) != name:
            raise errors.bad_request(
                f"the name of the object ({sent['name']}) does not match the name on the URL ({name})"
            )
        if not sent.get("resourceVersion") and not served.strategy.unconditional_update:
            causes = [
                errors.Cause(
                    "FieldValueInvalid",
                    "metadata.resourceVersion",
                    "Invalid value: 0x0: must be specified for an update",
                )
            ]
            raise errors.invalid(served.resource, name, causes)
        return self._replace(served, old, body, write)

    def patch(
        self, served: Served, namespace: str, name: str, change: Callable[[Object], Object], write: Write
    ) -> Revision:
        """Change an object by a function of what it is."""
        old = self.get(served, namespace, name)
        return self._replace(served, old, change(_in_version(old.object, served.resource)), write)

    def _replace(self, served: Served, old: Revision, body: Object, write: Write) -> Revision:
        resource, strategy = served.resource, served.strategy
        name = old.object["metadata"]["name"]
        new = self._checked(served, body, write)
        causes = decoding_causes(served, new, old.object)
        own, before = new.setdefault("metadata", {}), old.object["metadata"]
        _check_namespace(resource, own, old.key[0])
        if own.get("uid") and own["uid"] != before["uid"]:
            why = (
                f"Precondition failed: UID in precondition: {own['uid']}, UID in object meta: {before['uid']}"
            )
            raise errors.conflict(resource, name, why)
        if own.get("resourceVersion") and own["resourceVersion"] != before["resourceVersion"]:
            raise errors.modified(resource, name)
        metadata.carry_over(own, before)
        own["resourceVersion"] = before["resourceVersion"]
        if write.subresource:
            strategy.prepare_for_subresource(write.subresource, new, old.object)
            own = new["metadata"]
        else:
            strategy.prepare_for_update(new, old.object)
            strategy.default(new)
            if strategy.has_generation and strategy.desired_state(new) != strategy.desired_state(old.object):
                own["generation"] = before.get("generation", 0) + 1
        causes += metadata.validate(own, resource, strategy.valid_name)
        causes += metadata.validate_update(own, before)
        if resource.custom:
            causes += validate(served.schema, new, old=old.object)
        if not write.subresource:
            causes += strategy.validate(new)
            causes += strategy.validate_update(new, old.object)
        causes += strategy.validate_rules(new, old.object, causes)
        if causes:
            raise errors.invalid(resource, name, causes)
        write.warnings.extend(strategy.warnings(new, old.object))
        if resource.custom:
            write.warnings.extend(metadata.warnings(own, before))
        self._own(served, old.object, new, own, write)
        if not write.subresource:
            strategy.allocate(new)
        if new == old.object:
            return old
        if write.dry_run:
            return Revision(old.key, old.version, old.created, new)
        revision = self._collection(served).put(old.key, new)
        if _is_finished(new) and not strategy.holds(new):
            return self._remove(served, revision)
        return revision

    def _own(self, served: Served, old: Object, new: Object, own: Object, write: Write) -> None:
        """Note in ``managedFields`` who wrote what."""
        sent, before = own.get("managedFields"), old.get("metadata", {}).get("managedFields")
        if write.managers is not None:
            own["managedFields"] = ownership.write(write.managers)
            return
        if sent == [{}]:
            own.pop("managedFields", None)
            return
        try:
            known = ownership.read(sent or before)
        except ValueError as error:
            raise errors.bad_request(f"metadata.managedFields: {error}") from None
        api_version, subresource = served.resource.api_version, write.through or write.subresource
        manager = Manager(write.field_manager, ownership.UPDATE, api_version, subresource)
        managers = ownership.after_update(known, served.schema, old, new, manager)
        if managers is not None:
            own["managedFields"] = ownership.write(managers)
        elif sent or before:
            own["managedFields"] = sent or before

    def apply(self, served: Served, namespace: str, name: str, config: Object, write: Write) -> Revision:
        """Apply a configuration server-side; create the object if it isn't there."""
        resource = served.resource
        if not write.field_manager:
            why = "fieldManager: Required value: is required for apply patch"
            raise ApiError(422, "Invalid", f'PatchOptions.meta.k8s.io "" is invalid: {why}')
        if not isinstance(config, dict) or not config.get("apiVersion") or not config.get("kind"):
            raise errors.bad_request("apply patches need apiVersion and kind")
        sent = config.get("metadata") or {}
        if sent.get("managedFields"):
            raise errors.bad_request("metadata.managedFields must be nil")
        if sent.get("name", name) != name:
            raise errors.bad_request(
                f"the name of the object ({sent['name']}) does not match the name on the URL ({name})"
            )
        config = self._checked(served, config, write, with_defaults=False)
        key = (namespace if resource.namespaced else "", name)
        old = self._collection(served).get(key)
        nothing: Object = {"apiVersion": resource.api_version, "kind": resource.kind}
        live = _in_version(old.object, resource) if old else nothing
        manager = Manager(write.field_manager, ownership.APPLY, resource.api_version, write.subresource)
        try:
            applied = apply(served.schema, resource, live, config, manager, force=write.force)
        except ValueError as error:
            what = f"{namespace}/{name}; {resource.api_version}, Kind={resource.kind}"
            raise errors.bad_request(f"failed to create typed patch object ({what}): {error}") from None
        write.managers = applied.managers
        if old is None:
            if write.subresource:
                raise errors.not_found(resource, name)
            if sent.get("uid"):
                why = f"Precondition failed: UID in precondition: {sent['uid']}, UID in object meta: "
                raise errors.conflict(resource, name, why)
            body = {**applied.body, "metadata": {**(applied.body.get("metadata") or {}), "name": name}}
            write.created = True
            return self.create(served, namespace, body, write)
        return self._replace(served, old, applied.body, write)

    def delete(self, served: Served, namespace: str, name: str, options: DeleteOptions) -> Deleted:
        revision = self.get(served, namespace, name)
        resource, strategy, old = served.resource, served.strategy, revision.object
        own = old["metadata"]
        if options.uid and options.uid != own["uid"]:
            why = f"Precondition failed: UID in precondition: {options.uid}, UID in object meta: {own['uid']}"
            raise errors.conflict(resource, name, why)
        if options.resource_version and options.resource_version != own["resourceVersion"]:
            why = (
                f"Precondition failed: ResourceVersion in precondition: {options.resource_version}, "
                f"ResourceVersion in object meta: {own['resourceVersion']}"
            )
            raise errors.conflict(resource, name, why)
        self.admission.admit_delete(resource, old)
        grace = strategy.grace_period(old, options.grace_period_seconds)
        finalizers = _finalizers_for(own.get("finalizers") or [], options.propagation_policy)
        if not grace and not finalizers and not strategy.holds(old):
            if options.dry_run:
                return Deleted(old, True)
            return Deleted(self._remove(served, revision).object, True)
        changed = self._being_deleted(old, grace, finalizers, strategy.has_generation)
        if changed is None:
            return Deleted(old, False)
        if options.dry_run:
            return Deleted(changed, False)
        return Deleted(self._collection(served).put(revision.key, changed).object, False)

    @staticmethod
    def _being_deleted(
        old: Object, grace: int, finalizers: builtins.list[str], has_generation: bool
    ) -> Object | None:
        """Return the object with its deletion noted, None if there is nothing new to note."""
        own = dict(old["metadata"])
        if "deletionTimestamp" in own:
            current = own.get("deletionGracePeriodSeconds", 0)
            grace = min(grace, current)  # A period can only be shortened.
            if (grace, finalizers) == (current, own.get("finalizers") or []):
                return None
            asked = datetime.fromisoformat(own["deletionTimestamp"]) - timedelta(seconds=current)
        else:
            asked = datetime.now(UTC)
            if has_generation and own.get("generation"):
                own["generation"] += 1
        own["deletionTimestamp"] = metadata.timestamp(asked + timedelta(seconds=grace))
        own["deletionGracePeriodSeconds"] = grace
        own.pop("finalizers", None)
        if finalizers:
            own["finalizers"] = finalizers
        return {**old, "metadata": own}

    def delete_collection(
        self, served: Served, selection: Selection, options: DeleteOptions
    ) -> builtins.list[Object]:
        return [self.delete(served, *revision.key, options).body for revision in self.list(served, selection)]

    def _remove(self, served: Served, revision: Revision) -> Revision:
        served.strategy.deleted(revision.object)
        return self._collection(served).remove(revision.key)

    def _collection(self, served: Served) -> Collection:
        return self.store.collection(served.resource.full_name)

    def _checked(self, served: Served, body: Object, write: Write, *, with_defaults: bool = True) -> Object:
        """Check that a body is of the right kind and take it over, field by field."""
        resource = served.resource
        if not isinstance(body, dict):
            raise errors.bad_request(f"the body must be a {resource.kind} object")
        api_version, kind = body.get("apiVersion"), body.get("kind")
        if api_version and api_version != resource.api_version:
            raise errors.bad_request(
                f"the API version in the data ({api_version}) does not match the expected API version "
                f"({resource.api_version})"
            )
        if kind and kind != resource.kind:
            raise errors.bad_request(
                f"{kind} in version {resource.version!r} cannot be handled as a {resource.kind}: "
                f"no kind {kind!r} is registered for version {resource.api_version!r}"
            )
        body = {**body, "apiVersion": resource.api_version, "kind": resource.kind}
        unknown: builtins.list[str] = []
        new: Object = decode(served.schema, body, unknown, with_defaults=with_defaults)
        _tell_unknown(unknown, resource, write)
        return new


def _tell_unknown(unknown: list[str], resource: Resource, write: Write) -> None:
    """Refuse unknown fields, warn of them, or ignore them, as the client asked."""
    if unknown and write.field_validation == "Strict":
        told = ", ".join(f'unknown field "{path}"' for path in sorted(unknown))
        raise errors.bad_request(
            f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
            f"strict decoding error: {told}"
        )
    if write.field_validation == "Warn":
        write.warnings.extend(f'unknown field "{path}"' for path in sorted(unknown))


def _in_version(body: Object, resource: Resource) -> Object:
    """Copy a stored object as a version of its resource shows it."""
    copy: Object = clone(body)
    copy["apiVersion"] = resource.api_version
    return copy


def _check_namespace(resource: Resource, own: Object, namespace: str) -> None:
    if resource.namespaced and own.get("namespace") and own["namespace"] != namespace:
        raise errors.bad_request(
            f"the namespace of the provided object does not match the namespace sent on the request "
            f"({own['namespace']} != {namespace})"
        )


def _finalizers_for(finalizers: list[str], policy: str | None) -> list[str]:
    """Return the finalizers that a propagation policy leaves or asks for."""
    if policy is None:
        return finalizers
    kept = [one for one in finalizers if one not in (ORPHAN, FOREGROUND)]
    if policy == "Orphan":
        return [*kept, ORPHAN]
    if policy == "Foreground":
        return [*kept, FOREGROUND]
    return kept


def _is_finished(body: Object) -> bool:
    """Tell whether an object that is being deleted waits for nobody any more."""
    own = body["metadata"]
    waits = own.get("finalizers") or own.get("deletionGracePeriodSeconds")
    return bool(own.get("deletionTimestamp")) and not waits
