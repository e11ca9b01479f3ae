"""A resource with all that the server knows about it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from dask_k8s_local.api.kinds.strategy import Strategy
from dask_k8s_local.api.resource import Resource
from dask_k8s_local.api.schema.compiled import Schema
from dask_k8s_local.api.storage.selectors import Selection
from dask_k8s_local.interfaces import Object


@dataclass(frozen=True)
class Column:
    """A column of a Table: a heading and the JSONPath below the object."""

    name: str
    type: str
    json_path: str
    description: str = ""
    format: str = ""
    priority: int = 0


@dataclass(frozen=True)
class ScalePaths:
    """Where a kind keeps what its scale subresource shows."""

    spec_replicas: str
    status_replicas: str
    label_selector: str = ""


@dataclass
class Served:
    """A resource with all that the server knows about it."""

    resource: Resource
    schema: Schema
    strategy: Strategy
    columns: tuple[Column, ...] | None = None
    scale: ScalePaths | None = None
    selectable_fields: frozenset[str] = field(default_factory=frozenset)
    revision: str = ""
    """Changes when the schema does."""
    alias: Alias | None = None

    @property
    def stored(self) -> Served:
        """Return the resource whose objects these are."""
        return self.alias.stored if self.alias else self


@dataclass(frozen=True)
class Alias:
    """A resource that shows another one's objects in another form."""

    stored: Served
    to_stored: Callable[[Object], Object]
    from_stored: Callable[[Object], Object]
    fields: Mapping[str, str]
    """Names of fields in selectors, and what they are called in the stored form."""

    def selection(self, selection: Selection) -> Selection:
        """Translate a selection's fields."""
        parts = []
        for part in selection.field_selector.split(","):
            match = _FIELD.match(part)
            name = match[0] if match else ""
            parts.append(self.fields.get(name, name) + part[len(name) :])
        return replace(selection, field_selector=",".join(parts))


_FIELD = re.compile(r"[\w.]+")
