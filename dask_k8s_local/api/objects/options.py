"""How clients want things written and deleted, and what they are told besides the answer."""

from __future__ import annotations

from dataclasses import dataclass, field

from dask_k8s_local.api.patches.managed_fields import Managers
from dask_k8s_local.interfaces import Object


@dataclass
class Write:
    """The options of a create, update, patch or apply."""

    field_manager: str = ""
    field_validation: str = "Ignore"
    dry_run: bool = False
    force: bool = False
    subresource: str = ""
    through: str = ""
    """A subresource that writes the whole object, as scale does; ``managedFields`` names it."""
    duplicates: list[str] = field(default_factory=list)
    """Fields that the client's JSON has twice."""
    warnings: list[str] = field(default_factory=list)
    """What the client is to be told although the write is fine."""
    managers: Managers | None = None
    """Who owns what afterwards, if an apply has settled that."""
    created: bool = False
    """Whether an apply found nothing and made a new object."""


@dataclass(frozen=True)
class DeleteOptions:
    """The options of a deletion."""

    uid: str | None = None
    resource_version: str | None = None
    grace_period_seconds: int | None = None
    propagation_policy: str | None = None
    orphan_dependents: bool | None = None
    """How older clients say the propagation policy."""
    dry_run: bool = False


@dataclass(frozen=True)
class Deleted:
    """What a deletion left: the object as it is, or last was, and whether it is gone."""

    body: Object
    is_gone: bool
