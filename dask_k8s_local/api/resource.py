"""What a resource is called and what can be done with it."""

from __future__ import annotations

from dataclasses import dataclass, field

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True)
class Resource:
    """One served version of a resource, as discovery describes it."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    singular: str = ""
    list_kind: str = ""
    custom: bool = False
    full_name: str = field(init=False)
    """What kubectl calls it in full: ``pods``, ``deployments.apps``."""
    api_version: str = field(init=False)

    def __post_init__(self) -> None:
        with_group = f"{self.plural}.{self.group}" if self.group else self.plural
        api_version = f"{self.group}/{self.version}" if self.group else self.version
        object.__setattr__(self, "singular", self.singular or self.kind.lower())
        object.__setattr__(self, "list_kind", self.list_kind or f"{self.kind}List")
        object.__setattr__(self, "full_name", with_group)
        object.__setattr__(self, "api_version", api_version)
