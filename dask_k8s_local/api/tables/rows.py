"""The columns that ``kubectl get`` shows.

https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dask_k8s_local.api.kinds.served import Column, Served
from dask_k8s_local.api.schema import jsonpath
from dask_k8s_local.api.tables.columns import AGE_ONLY, COLUMNS
from dask_k8s_local.api.tables.durations import age
from dask_k8s_local.interfaces import Object


@dataclass(frozen=True)
class TableColumn:
    """A column's definition and what a cell of it holds."""

    definition: Object
    cell: Callable[[Object], Any]


def _definition(column: Column) -> Object:
    return {
        "name": column.name,
        "type": column.type,
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    }


_NAME = TableColumn(
    _definition(Column("Name", "string", "", "Name must be unique within a namespace.", "name")),
    lambda body: body["metadata"].get("name", ""),
)


def columns(served: Served) -> Sequence[TableColumn]:
    """Return the columns of a resource: a CRD's own, Kubernetes' usual ones, or name and age."""
    if served.columns is not None:
        return [_NAME, *(_printed(column) for column in served.columns)]
    computed = COLUMNS.get(served.resource.full_name, AGE_ONLY)
    own = [_computed(*one) for one in computed]
    # Events are shown by what they are about.
    return own if served.resource.full_name == "events" else [_NAME, *own]


def cells(served: Served, body: Object) -> list[Any]:
    return [column.cell(body) for column in columns(served)]


def _computed(name: str, type_: str, cell: Callable[[Object], Any], priority: int = 0) -> TableColumn:
    return TableColumn(_definition(Column(name, type_, "", priority=priority)), cell)


def _printed(column: Column) -> TableColumn:
    def cell(body: Object) -> Any:
        found = jsonpath.find(body, column.json_path)
        if not found or found[0] is None:
            return None
        value = found[0]
        if column.type == "date":
            return age(value)
        if column.type == "string":
            if len(found) > 1:
                return ",".join(str(one) for one in found)
            return value if isinstance(value, str) else _plain(value)
        return value

    return TableColumn(_definition(column), cell)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)
