"""The CustomResourceDefinitions of our kinds."""

from __future__ import annotations

from typing import Any

from dask_k8s_models.kinds import KINDS
from dask_k8s_models.resource import GROUP, VERSION, Column, Resource
from dask_k8s_models.structural import structural_schema

Json = dict[str, Any]

NOT_YET_OBSERVED = {"observedGeneration": -1}
"""Status of what no controller has seen, so that Flux and Argo CD don't take it for ready."""


def custom_resource_definitions() -> list[Json]:
    """Return the CustomResourceDefinitions of all our kinds.

    Returns
    -------
    list of dict
        Manifests, ready to be applied.
    """
    return [custom_resource_definition(model) for model in KINDS.values()]


def custom_resource_definition(model: type[Resource]) -> Json:
    """Return the CustomResourceDefinition of one kind."""
    names = model.resource_names
    version: Json = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": root_schema(model)},
        "subresources": subresources(model),
        "additionalPrinterColumns": [printer_column(column) for column in names.columns],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": model.__name__,
                "listKind": f"{model.__name__}List",
                "plural": names.plural,
                "singular": names.singular,
                "shortNames": list(names.short),
                "categories": ["dask"],
            },
            "versions": [version],
        },
    }


def root_schema(model: type[Resource]) -> Json:
    """Return the schema of a whole object; the API server itself looks after metadata."""
    schema = structural_schema(model)
    schema["required"] = ["spec"]
    properties = schema["properties"]
    properties |= {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
    }
    properties["status"]["default"] = NOT_YET_OBSERVED
    return schema


def subresources(model: type[Resource]) -> Json:
    """Return the status and, where there are replicas, the scale subresource."""
    if not model.resource_names.is_scaled:
        return {"status": {}}
    scale = {
        "specReplicasPath": ".spec.worker.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    return {"status": {}, "scale": scale}


def printer_column(column: Column) -> Json:
    """Return a column as it is written in a CustomResourceDefinition."""
    written: Json = {"name": column.name, "type": column.type, "jsonPath": column.path}
    if column.description:
        written["description"] = column.description
    if column.priority:
        written["priority"] = column.priority
    return written
