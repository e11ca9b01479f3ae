"""The scheduler's Service: which of its ports lead where, and the rules that a user's has to keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dask_k8s_models import labels, names, pods
from dask_k8s_models._kubernetes import ServiceSpec
from dask_k8s_models.markers import Rule

Json = dict[str, Any]


def default_ports(pod_spec: pods.PodSpec) -> list[Json]:
    """Return the ports that a scheduler's Service gets if the user gives it none.

    Parameters
    ----------
    pod_spec : mapping
        The ``spec`` of the scheduler's pod, whose ports are meant by name if they have one.
    """
    named = {
        port.get("name")
        for container in pod_spec.get("containers") or ()
        for port in container.get("ports") or ()
    }
    return [
        {"name": name, "protocol": "TCP", "port": number, "targetPort": name if name in named else target}
        for name, number, target in (
            (pods.TCP_COMM, names.SCHEDULER_PORT, pods.comm_port(pod_spec)),
            (pods.HTTP_DASHBOARD, names.DASHBOARD_PORT, pods.dashboard_port(pod_spec)),
        )
    ]


def comm_port(service: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Find the port of a Service that leads to the scheduler, for workers and clients.

    It is the one called ``tcp-comm``, else number 8786, else the one whose target is either, else the only.

    Parameters
    ----------
    service : mapping, optional
        The ``spec`` of a Service. Without ports, or without one, it has those of `default_ports`.

    Returns
    -------
    mapping or None
        The port as it stands in the Service, with ``port`` and perhaps ``nodePort`` and ``targetPort``.
    """
    ports = _ports(service)
    return _port(ports, pods.TCP_COMM, names.SCHEDULER_PORT) or (ports[0] if len(ports) == 1 else None)


def dashboard_port(service: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Find the port of a Service that leads to the dashboard and the scheduler's HTTP routes.

    It is the one called ``http-dashboard``, else number 8787, else the one whose target is either.

    Parameters
    ----------
    service : mapping, optional
        The ``spec`` of a Service. Without ports, or without one, it has those of `default_ports`.

    Returns
    -------
    mapping or None
        The port as it stands in the Service; None if it offers no such port.
    """
    return _port(_ports(service), pods.HTTP_DASHBOARD, names.DASHBOARD_PORT)


def target_port(port: Mapping[str, Any], pod_spec: pods.PodSpec) -> int | None:
    """Resolve a port of a Service to that of the pod behind it, which is what can be forwarded.

    Parameters
    ----------
    port : mapping
        A port of a Service.
    pod_spec : mapping
        The ``spec`` of the pod.

    Returns
    -------
    int or None
        None if it has a name that no port of the pod has.
    """
    target = port.get("targetPort") or port["port"]
    if isinstance(target, int) or target.isdecimal():
        return int(target)
    numbers = [
        entry["containerPort"]
        for container in pod_spec.get("containers") or ()
        for entry in container.get("ports") or ()
        if entry.get("name") == target
    ]
    return numbers[0] if numbers else None


def _ports(service: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    return list((service or {}).get("ports") or default_ports({}))


def _port(ports: list[Mapping[str, Any]], name: str, number: int) -> Mapping[str, Any] | None:
    by_preference = [
        *(port for port in ports if port.get("name") == name),
        *(port for port in ports if port.get("port") == number),
        *(port for port in ports if port.get("targetPort") in (name, number)),
    ]
    return next(iter(by_preference), None)


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


NO_EXTERNAL_NAME_RULE = Rule(
    cel="!has(self.service) || !has(self.service.externalName) && "
    "(!has(self.service.type) || self.service.type != 'ExternalName')",
    message="service must lead to the scheduler, not to another name: take ExternalName and externalName out",
    holds=lambda scheduler: (
        scheduler.service is None
        or (scheduler.service.type != "ExternalName" and scheduler.service.externalName is None)
    ),
    field="service.type",
)

NO_EXTERNAL_IPS_RULE = Rule(
    cel="!has(self.service) || !has(self.service.externalIPs) || size(self.service.externalIPs) == 0",
    message="service.externalIPs takes addresses over from everybody: use type LoadBalancer or NodePort, or "
    "make a second Service yourself",
    holds=lambda scheduler: not (scheduler.service and scheduler.service.externalIPs),
    field="service.externalIPs",
)
"""https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#denyserviceexternalips"""

SERVICE_RULES = (COMPONENT_RULE, NO_EXTERNAL_NAME_RULE, NO_EXTERNAL_IPS_RULE)
"""The rules about a Service that don't depend on the cluster's name."""


def cluster_name_rule(
    scheduler: str, service: Callable[[Any], ServiceSpec | None], optional: str = ""
) -> Rule:
    """Return the rule that the selector names the very cluster, if it names one.

    Parameters
    ----------
    scheduler : str
        Path of the scheduler in the object, e.g. ``spec.scheduler``.
    service : callable
        Finds the same scheduler's Service in a model.
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
        selected = selector_of(service(resource)).get(labels.CLUSTER_NAME)
        # A name that is yet to be generated can't be known.
        return selected is None or (selected == resource.name != "")

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
