"""What is wrong with a pod's spec beyond its schema: what manifests and controllers get wrong most."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from dask_k8s_local import quantity
from dask_k8s_local.api import errors
from dask_k8s_local.api.errors import Cause
from dask_k8s_local.api.kinds.volume_validation import mount_problems, name_problems, volume_problems
from dask_k8s_local.api.meta import names
from dask_k8s_local.interfaces import Object

_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_RESTART_POLICIES = ("Always", "OnFailure", "Never")
_DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_PROTOCOLS = ("TCP", "UDP", "SCTP")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_ENV_NAME = re.compile(r"[^=\x00-\x1f\x7f]+")
PORT_RANGE = "must be between 1 and 65535, inclusive"


def pod_spec_problems(spec: Object, path: str = "spec") -> Iterator[Cause]:
    """Yield what is wrong, with the wording of Kubernetes' validation."""
    if not spec.get("containers"):
        yield errors.required(f"{path}.containers")
    yield from _one_of(spec, "restartPolicy", _RESTART_POLICIES, path)
    yield from _one_of(spec, "dnsPolicy", _DNS_POLICIES, path)
    if spec.get("activeDeadlineSeconds", 1) < 1:
        value = spec["activeDeadlineSeconds"]
        yield errors.invalid_value(
            f"{path}.activeDeadlineSeconds", value, "must be between 1 and 2147483647, inclusive"
        )
    for key in ("hostname", "subdomain"):
        if spec.get(key) and (problem := names.label_problem(spec[key])):
            yield errors.invalid_value(f"{path}.{key}", spec[key], problem)
    yield from volume_problems(spec.get("volumes") or (), f"{path}.volumes")
    volumes = {volume.get("name", "") for volume in spec.get("volumes") or ()}
    seen: set[str] = set()
    for kind in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(kind) or ()):
            place = f"{path}.{kind}[{index}]"
            yield from _container_problems(container, volumes, seen, place)
            policy = container.get("restartPolicy")
            if (
                policy is not None
                and (kind == "containers" or policy != "Always")
                and not container.get("restartPolicyRules")
            ):
                if kind == "initContainers":
                    yield errors.not_supported(f"{place}.restartPolicy", policy, ("Always",))
                elif policy not in _RESTART_POLICIES:
                    yield errors.not_supported(f"{place}.restartPolicy", policy, _RESTART_POLICIES)
    yield from _label_problems(spec.get("nodeSelector") or {}, f"{path}.nodeSelector")
    for index, toleration in enumerate(spec.get("tolerations") or ()):
        yield from _toleration_problems(toleration, f"{path}.tolerations[{index}]")


def _one_of(body: Object, key: str, allowed: tuple[str, ...], path: str) -> Iterator[Cause]:
    value = body.get(key)
    if value is not None and value not in allowed:
        yield errors.not_supported(f"{path}.{key}", value, allowed)


def _label_problems(labels: dict[str, str], path: str) -> Iterator[Cause]:
    for key, value in labels.items():
        if problem := names.qualified_name_problem(key):
            yield errors.invalid_value(path, key, problem)
        if problem := names.label_value_problem(value):
            yield errors.invalid_value(path, value, problem)


def _container_problems(container: Object, volumes: set[str], seen: set[str], path: str) -> Iterator[Cause]:
    yield from name_problems(container.get("name"), seen, f"{path}.name")
    image = container.get("image")
    if not image:
        yield errors.required(f"{path}.image")
    elif image != image.strip():
        yield errors.invalid_value(f"{path}.image", image, "must not have leading or trailing whitespace")
    yield from _one_of(container, "imagePullPolicy", _PULL_POLICIES, path)
    yield from _one_of(container, "terminationMessagePolicy", ("File", "FallbackToLogsOnError"), path)
    yield from _port_problems(container.get("ports") or (), f"{path}.ports")
    yield from _env_problems(container.get("env") or (), f"{path}.env")
    yield from _resource_problems(container.get("resources") or {}, f"{path}.resources")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(name) is not None:
            yield from _probe_problems(
                container[name], f"{path}.{name}", is_readiness=name == "readinessProbe"
            )
    mounted: set[str] = set()
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        yield from mount_problems(mount, volumes, mounted, f"{path}.volumeMounts", index)


def _port_problems(ports: Any, path: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, port in enumerate(ports):
        place = f"{path}[{index}]"
        number = port.get("containerPort")
        if not number:
            yield errors.required(f"{place}.containerPort")
        elif not 0 < number < 65536:
            yield errors.invalid_value(f"{place}.containerPort", number, PORT_RANGE)
        if port.get("hostPort") and not 0 < port["hostPort"] < 65536:
            yield errors.invalid_value(f"{place}.hostPort", port["hostPort"], PORT_RANGE)
        name = port.get("name")
        if name:
            yield from port_name_problems(name, f"{place}.name")
            if name in seen:
                yield errors.duplicate(f"{place}.name", name)
            seen.add(name)
        yield from _one_of(port, "protocol", _PROTOCOLS, place)


def port_name_problems(name: str, path: str) -> Iterator[Cause]:
    if len(name) > 15:
        yield errors.invalid_value(path, name, "must be no more than 15 characters")
    if not _PORT_NAME.fullmatch(name) or "--" in name:
        yield errors.invalid_value(
            path,
            name,
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-), must contain at least "
            "one letter (a-z), and must not start or end with a hyphen",
        )


def _env_problems(env: Any, path: str) -> Iterator[Cause]:
    for index, variable in enumerate(env):
        place = f"{path}[{index}]"
        name = variable.get("name")
        if not name:
            yield errors.required(f"{place}.name")
        elif not _ENV_NAME.fullmatch(name):
            yield errors.invalid_value(
                f"{place}.name",
                name,
                "a valid environment variable name must consist only of printable characters, except '='",
            )
        source = variable.get("valueFrom")
        if source is None:
            continue
        if not source:
            yield errors.invalid_value(
                f"{place}.valueFrom",
                "",
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
            )
        elif len(source) > 1:
            yield errors.invalid_value(
                f"{place}.valueFrom", "", "may not have more than one field specified at a time"
            )
        elif variable.get("value"):
            yield errors.invalid_value(
                f"{place}.valueFrom", "", "may not be specified when `value` is not empty"
            )


def _resource_problems(resources: Object, path: str) -> Iterator[Cause]:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for kind, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            if quantity.parse(amount) < 0:
                yield errors.invalid_value(
                    f"{path}.{kind}[{name}]", str(amount), "must be greater than or equal to 0"
                )
    for name, amount in requests.items():
        limit = limits.get(name)
        if limit is not None and quantity.parse(amount) > quantity.parse(limit):
            detail = f"must be less than or equal to {name} limit of {limit}"
            yield errors.invalid_value(f"{path}.requests", str(amount), detail)
        if limit is None and "/" in name and not name.startswith("requests."):
            yield errors.required(f"{path}.limits", "Limit must be set for non overcommitable resources")


def _probe_problems(probe: Object, path: str, *, is_readiness: bool) -> Iterator[Cause]:
    handlers = [name for name in _HANDLERS if probe.get(name) is not None]
    if not handlers:
        yield errors.required(path, "must specify a handler type")
    for name in handlers[1:]:
        yield errors.forbidden_field(f"{path}.{name}", "may not specify more than 1 handler type")
    for name in ("httpGet", "tcpSocket"):
        if name in handlers:
            yield from _probe_port_problems(probe[name].get("port"), f"{path}.{name}.port")
    if not is_readiness and probe.get("successThreshold", 1) != 1:
        yield errors.invalid_value(f"{path}.successThreshold", probe["successThreshold"], "must be 1")
    for name in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "failureThreshold"):
        if probe.get(name, 0) < 0:
            yield errors.invalid_value(f"{path}.{name}", probe[name], "must be greater than or equal to 0")


def _probe_port_problems(port: Any, path: str) -> Iterator[Cause]:
    if port is None or port == "":
        yield errors.invalid_value(path, 0, PORT_RANGE)
    elif isinstance(port, int) and not 0 < port < 65536:
        yield errors.invalid_value(path, port, PORT_RANGE)
    elif isinstance(port, str):
        yield from port_name_problems(port, path)


def _toleration_problems(toleration: Object, path: str) -> Iterator[Cause]:
    operator, effect = toleration.get("operator"), toleration.get("effect") or ""
    if toleration.get("key") and (problem := names.qualified_name_problem(toleration["key"])):
        yield errors.invalid_value(f"{path}.key", toleration["key"], problem)
    if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
        yield errors.invalid_value(
            f"{path}.effect", effect, "effect must be 'NoExecute' when `tolerationSeconds` is set"
        )
    if operator == "Exists" and toleration.get("value"):
        yield errors.invalid_value(
            f"{path}.operator", toleration["value"], "value must be empty when `operator` is 'Exists'"
        )
    if not toleration.get("key") and operator not in ("Exists",):
        yield errors.invalid_value(
            f"{path}.operator",
            operator or "",
            'operator must be Exists when `key` is empty, which means "match all values and all keys"',
        )
    yield from _one_of(toleration, "operator", ("Equal", "Exists", "Lt", "Gt"), path)
    yield from _one_of(toleration, "effect", ("NoSchedule", "PreferNoSchedule", "NoExecute"), path)
