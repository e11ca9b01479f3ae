"""What differs from kind to kind in how an object is created, updated and deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dask_k8s_local.api.errors import Cause
from dask_k8s_local.api.meta import names
from dask_k8s_local.interfaces import Object

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Strategy:
    """The behaviour of a kind that has nothing of its own: everything but metadata is the user's.

    The hooks may change the object they are given, never the old one.
    """

    has_status = False
    """Whether status is written through its subresource only."""
    has_generation = False
    unconditional_update = True
    """Whether PUT may come without a resourceVersion."""
    returns_deleted = False
    """Whether deleting answers with the object rather than with a Status."""
    valid_name: Callable[[str], str | None] = staticmethod(names.subdomain_problem)

    def default(self, body: Object) -> None:
        """Fill in what the user left out."""

    def allocate(self, body: Object) -> None:
        """Give the object what the server chooses for it, such as addresses."""

    def prepare_for_create(self, body: Object) -> None:
        if self.has_status:
            body.pop("status", None)

    def prepare_for_update(self, new: Object, old: Object) -> None:
        if self.has_status:
            carry_over(new, old, "status")

    def prepare_for_subresource(self, subresource: str, new: Object, old: Object) -> None:
        """Take over what the subresource is for, and nothing else; metadata may change as well."""
        part = {"finalize": "spec"}.get(subresource, subresource)
        for key in (old.keys() | new.keys()) - {part, "metadata"}:
            carry_over(new, old, key)

    def claimed(self, body: Object) -> Object:
        """Return the part of a new object that is its creator's, not the server's."""
        return {key: value for key, value in body.items() if key != "status"} if self.has_status else body

    def appliable(self, config: Object, subresource: str) -> Object:
        """Return the part of an applied configuration that the resource or its subresource takes."""
        if subresource:
            return {key: config[key] for key in ("apiVersion", "kind", subresource) if key in config}
        return self.claimed(config)

    def desired_state(self, body: Object) -> Object:
        """Return the part of an object whose change makes a new generation."""
        ignored = ("metadata", "status") if self.has_status else ("metadata",)
        return {key: value for key, value in body.items() if key not in ignored}

    def validate(self, body: Object) -> Sequence[Cause]:
        """Return what is wrong beyond the schema."""
        return ()

    def validate_subresource(self, subresource: str, body: Object) -> Sequence[Cause]:
        """Return what is wrong beyond the schema with what a subresource is for."""
        return ()

    def validate_update(self, new: Object, old: Object) -> Sequence[Cause]:
        """Return what may not be changed."""
        return ()

    def validate_rules(self, new: Object, old: Object | None, causes: Sequence[Cause]) -> Sequence[Cause]:
        """Return the rules beyond the schema that are broken, given what is wrong already."""
        return ()

    def warnings(self, body: Object, old: Object | None) -> Sequence[str]:
        """Return what the user should know although it is allowed."""
        return ()

    def grace_period(self, body: Object, requested: int | None) -> int:
        """Return how many seconds an object has to end; 0 for what can go at once."""
        return 0

    def note_deletion(self, body: Object) -> Object:
        """Return an object, whose deletion has begun, as that makes it."""
        return body

    def holds(self, body: Object) -> bool:
        """Tell whether an object that is being deleted waits for more than its ``metadata.finalizers``."""
        return False


class GenerationStrategy(Strategy):
    """A kind whose spec changes are counted and whose status has a subresource."""

    has_status = True
    has_generation = True


def carry_over(new: Object, old: Object, key: str) -> None:
    """Give the new object the old one's value of a field, also if that is none."""
    if key in old:
        new[key] = old[key]
    else:
        new.pop(key, None)
