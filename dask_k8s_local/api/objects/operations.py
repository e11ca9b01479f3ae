"""What can be done with objects: read, create, update, patch and delete, each in one uninterrupted step.

Nothing here waits, so that every operation is atomic in the event loop; HTTP and the in-process client
both stand on it.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable

from dask_k8s_local.api import errors
from dask_k8s_local.api.admission.chain import Admission
from dask_k8s_local.api.errors import Cause
from dask_k8s_local.api.kinds.served import Served
from dask_k8s_local.api.meta import metadata, names
from dask_k8s_local.api.objects.deletion import being_deleted, finalizers_for, waits_for_nobody
from dask_k8s_local.api.objects.intake import (
    check_decoded,
    check_name,
    check_namespace,
    check_preconditions,
    check_uid,
    configuration,
    in_version,
    sent_metadata,
    taken_over,
)
from dask_k8s_local.api.objects.options import Deleted, DeleteOptions, Write
from dask_k8s_local.api.patches import managed_fields
from dask_k8s_local.api.patches.apply import apply
from dask_k8s_local.api.patches.managed_fields import Manager
from dask_k8s_local.api.schema.validation import validate
from dask_k8s_local.api.storage.selectors import Selection, exact_name, matcher
from dask_k8s_local.api.storage.store import Collection, Revision, Store
from dask_k8s_local.interfaces import Object

_NO_VERSION = Cause(
    "FieldValueInvalid", "metadata.resourceVersion", "Invalid value: 0: must be specified for an update"
)


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
        new = taken_over(served, body, write)
        check_decoded(served, new)
        own = new.setdefault("metadata", {})
        if own.get("resourceVersion"):
            raise errors.internal("resourceVersion should not be set on objects to be created")
        check_namespace(resource, own, namespace)
        metadata.fill_for_create(own, resource, namespace)
        if own.get("generateName") and not own.get("name"):
            own["name"] = names.generated(own["generateName"])
        strategy.prepare_for_create(new)
        strategy.default(new)
        if strategy.has_generation:
            own["generation"] = 1
        self.admission.mutate(resource, namespace, new)
        self.admission.admit_create(resource, namespace, new)
        causes = metadata.validate(own, resource, strategy.valid_name)
        if resource.custom:
            causes += validate(served.schema, new)
        causes += strategy.validate(new)
        causes += strategy.validate_rules(new, None, causes)
        if causes:
            raise errors.invalid(resource, own.get("name", ""), causes)
        collection = self._collection(served)
        key = (namespace if resource.namespaced else "", own["name"])
        if (there := collection.get(key)) is not None:
            is_ending = "deletionTimestamp" in there.object["metadata"]
            raise errors.already_exists(resource, own["name"], is_ending=is_ending)
        write.warnings += [*strategy.warnings(new, None), *metadata.warnings(own, {}, resource)]
        self._own(served, {}, strategy.claimed(new), own, write)
        strategy.allocate(new)
        if write.dry_run:
            return Revision(key, self.store.version, 0, new)
        return collection.put(key, new)

    def update(self, served: Served, namespace: str, name: str, body: Object, write: Write) -> Revision:
        """Replace an object."""
        old = self.get(served, namespace, name)
        sent = sent_metadata(body)
        check_name(sent, name)
        check_uid(served.resource, old.object["metadata"], sent.get("uid"))
        if not sent.get("resourceVersion") and not served.strategy.unconditional_update:
            resource = served.resource
            raise errors.invalid_kind(resource.plural, name, [_NO_VERSION], resource.group)
        return self._replace(served, old, body, write)

    def patch(
        self, served: Served, namespace: str, name: str, change: Callable[[Object], Object], write: Write
    ) -> Revision:
        """Change an object by a function of what it is."""
        old = self.get(served, namespace, name)
        new = change(in_version(old.object, served.resource))
        check_name(sent_metadata(new), name)
        return self._replace(served, old, new, write)

    def apply(self, served: Served, namespace: str, name: str, config: Object, write: Write) -> Revision:
        """Apply a configuration server-side; create the object if it isn't there."""
        resource = served.resource
        if not isinstance(config, dict) or not config.get("apiVersion") or not config.get("kind"):
            raise errors.bad_request("invalid object type: /, Kind=")
        sent = sent_metadata(config)
        if sent.get("managedFields"):
            raise errors.bad_request("metadata.managedFields must be nil")
        check_name(sent, name)
        if (config["apiVersion"], config["kind"]) != (resource.api_version, resource.kind):
            raise errors.bad_request(f"invalid object type: {config['apiVersion']}, Kind={config['kind']}")
        old = self._collection(served).get((namespace if resource.namespaced else "", name))
        nothing: Object = {"apiVersion": resource.api_version, "kind": resource.kind}
        live = in_version(old.object, resource) if old else nothing
        manager = Manager(write.field_manager, managed_fields.APPLY, resource.api_version, write.subresource)
        try:
            wanted = served.strategy.appliable(configuration(served, config), write.subresource)
            applied = apply(served.schema, resource, live, wanted, manager, force=write.force)
        except ValueError as error:
            what = f"{sent.get('namespace', '')}/{name}; {resource.api_version}, Kind={resource.kind}"
            told = f"failed to create typed patch object ({what}): {error}"
            raise errors.internal(told) from None
        write.managers = applied.managers
        if old is not None:
            return self._replace(served, old, applied.body, write)
        if write.subresource:
            raise errors.not_found(resource, name)
        if sent.get("uid"):
            told = f"uid mismatch: the provided object specified uid {sent['uid']}"
            raise errors.conflict(resource, name, f"{told}, and no existing object was found")
        write.created = True
        own = {**(applied.body.get("metadata") or {}), "name": name}
        own.pop("resourceVersion", None)
        return self.create(served, namespace, {**applied.body, "metadata": own}, write)

    def _replace(self, served: Served, old: Revision, body: Object, write: Write) -> Revision:
        resource, strategy = served.resource, served.strategy
        name = old.object["metadata"]["name"]
        new = taken_over(served, body, write)
        check_decoded(served, new, old.object)
        own, before = new.setdefault("metadata", {}), old.object["metadata"]
        check_namespace(resource, own, old.key[0])
        immutable = metadata.immutable_causes(own, before)
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
        causes = immutable + metadata.validate(own, resource, strategy.valid_name)
        causes += metadata.validate_update(own, before)
        if resource.custom:
            causes += validate(served.schema, new, old=old.object)
        if write.subresource:
            causes += strategy.validate_subresource(write.subresource, new)
        else:
            causes += strategy.validate(new)
            causes += strategy.validate_update(new, old.object)
        causes += strategy.validate_rules(new, old.object, causes)
        if causes:
            raise errors.invalid(resource, name, causes)
        write.warnings += [*strategy.warnings(new, old.object), *metadata.warnings(own, before, resource)]
        self._own(served, old.object, new, own, write)
        if not write.subresource:
            strategy.allocate(new)
        if new == old.object:
            return old
        if write.dry_run:
            return Revision(old.key, old.version, old.created, new)
        if waits_for_nobody(new) and not strategy.holds(new):
            return self._collection(served).remove(old.key, new)
        return self._collection(served).put(old.key, new)

    def _own(self, served: Served, old: Object, new: Object, own: Object, write: Write) -> None:
        """Note in ``managedFields`` who wrote what."""
        sent, before = own.get("managedFields"), old.get("metadata", {}).get("managedFields")
        if write.managers is not None:
            own["managedFields"] = managed_fields.write(write.managers)
            return
        if sent == [{}]:
            del own["managedFields"]
            return
        try:
            known = managed_fields.read(sent or before)
        except ValueError as error:
            raise errors.bad_request(f"metadata.managedFields: {error}") from None
        api_version, subresource = served.resource.api_version, write.through or write.subresource
        manager = Manager(write.field_manager, managed_fields.UPDATE, api_version, subresource)
        managers = managed_fields.after_update(known, served.schema, old, new, manager)
        if managers is not None:
            own["managedFields"] = managed_fields.write(managers)
        elif sent or before:
            own["managedFields"] = sent or before

    def delete(self, served: Served, namespace: str, name: str, options: DeleteOptions) -> Deleted:
        revision = self.get(served, namespace, name)
        resource, strategy, old = served.resource, served.strategy, revision.object
        own = old["metadata"]
        check_preconditions(resource, own, options.uid, options.resource_version)
        self.admission.admit_delete(resource, old)
        grace = strategy.grace_period(old, options.grace_period_seconds)
        finalizers = finalizers_for(own.get("finalizers") or [], options.propagation_policy)
        if not grace and not finalizers and not strategy.holds(old):
            return Deleted(
                old if options.dry_run else self._collection(served).remove(revision.key).object, True
            )
        changed = being_deleted(old, grace, finalizers, has_generation=strategy.has_generation)
        if changed is None:
            return Deleted(old, False)
        changed = strategy.note_deletion(changed)
        if not options.dry_run:
            changed = self._collection(served).put(revision.key, changed).object
        return Deleted(changed, False)

    def delete_collection(
        self, served: Served, selection: Selection, options: DeleteOptions
    ) -> builtins.list[Object]:
        return [self.delete(served, *revision.key, options).body for revision in self.list(served, selection)]

    def _collection(self, served: Served) -> Collection:
        return self.store.collection(served.resource.full_name)
