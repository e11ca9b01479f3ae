"""Rules about the scheduler's Service: its selector, if there is one, has to select the scheduler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dask_k8s_models import labels
from dask_k8s_models._kubernetes import ServiceSpec
from dask_k8s_models.markers import Rule


def selector_of(service: ServiceSpec | None) -> dict[str, str]:
    """Return the selector of a Service; empty if either is missing."""
    return (service and service.selector) or {}


COMPONENT_RULE = Rule(
    cel="!has(self.service) || !has(self.service.selector) || "
    f"!('{labels.COMPONENT}' in self.service.selector) || "
    f"self.service.selector['{labels.COMPONENT}'] == '{labels.Component.SCHEDULER}'",
    message=f"service.selector would not select the scheduler: {labels.COMPONENT} must be "
    f"{labels.Component.SCHEDULER}; leave the selector out to get the right one",
    holds=lambda scheduler: (
        selector_of(scheduler.service).get(labels.COMPONENT, "scheduler") == labels.Component.SCHEDULER
    ),
    field="service.selector",
)


def cluster_name_rule(
    scheduler: str, service: Callable[[Any], ServiceSpec | None], optional: str = ""
) -> Rule:
    """Return the rule that the selector names the very cluster, if it names one.

    Parameters
    ----------
    scheduler : str
        Path of the scheduler in the object, e.g. ``spec.scheduler``.
    service : callable
        Finds the same scheduler's Service in a model. A model without a name yet is not judged.
    optional : str
        Path of the part of ``scheduler`` that an object need not have.
    """
    selector = f"self.{scheduler}.service.selector"
    parts_that_may_lack = [
        *([optional] if optional else []),
        f"{scheduler}.service",
        f"{scheduler}.service.selector",
    ]

    def holds(resource: Any) -> bool:
        name = resource.name
        return not name or selector_of(service(resource)).get(labels.CLUSTER_NAME, name) == name

    return Rule(
        cel=" || ".join(
            [
                *(f"!has(self.{part})" for part in parts_that_may_lack),
                f"!('{labels.CLUSTER_NAME}' in {selector})",
                f"{selector}['{labels.CLUSTER_NAME}'] == self.metadata.name",
            ]
        ),
        message=f"{scheduler}.service.selector would not select the scheduler: {labels.CLUSTER_NAME} must be "
        "metadata.name; leave the selector out to get the right one",
        holds=holds,
        field=f"{scheduler}.service.selector",
    )
