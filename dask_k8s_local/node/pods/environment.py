"""The environment variables, command and arguments of a container.

See https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import urlsplit

from dask_k8s_local.interfaces import Api, ApiError, Object
from dask_k8s_local.node.amounts import Resources, parse_resources
from dask_k8s_local.quantity import parse

_REFERENCE = re.compile(r"\$(\$|\(([^)]*)\))")
_SUBSCRIPT = re.compile(r"^metadata\.(labels|annotations)\['(.*)'\]$")

Environment = dict[str, str]


class ConfigError(Exception):
    """A container refers to what isn't there: ``CreateContainerConfigError``."""


@dataclass(frozen=True)
class PodFacts:
    """What the downward API tells about a pod beside its object."""

    pod_ip: str
    host_ip: str
    node_name: str
    allocatable: Resources


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` by its value if it has one; ``$$`` stands for ``$``."""

    def replacement(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        return variables.get(match[2], match[0])

    return _REFERENCE.sub(replacement, text)


def argv(container: Object, env: Environment) -> list[str]:
    """Return the command and its arguments, expanded; empty if the container relies on its image for them."""
    return [expand(word, env) for word in [*(container.get("command") or []), *(container.get("args") or [])]]


async def container_environment(
    api: Api, pod: Object, container: Object, facts: PodFacts, service_variables: Environment
) -> Environment:
    """Return the variables that Kubernetes sets for a container.

    Raises
    ------
    ConfigError
        If a ConfigMap, Secret or key isn't there, and isn't optional.
    """
    namespace = pod["metadata"]["namespace"]
    result: Environment = {}
    for source in container.get("envFrom") or []:
        result |= await _all_of(api, namespace, source)
    for entry in container.get("env") or []:
        value = entry.get("value")
        if value is None and entry.get("valueFrom"):
            value = await _value_from(api, pod, container, facts, entry["valueFrom"])
            if value is None:
                continue  # Optional, and not there.
        result[entry["name"]] = expand(value or "", service_variables | result)
    return service_variables | result


async def _all_of(api: Api, namespace: str, source: Object) -> Environment:
    prefix = source.get("prefix") or ""
    if "configMapRef" in source:
        data = await config_map_data(api, namespace, source["configMapRef"])
    else:
        data = await secret_data(api, namespace, source["secretRef"])
    return {prefix + name: value.decode(errors="replace") for name, value in (data or {}).items()}


async def _value_from(
    api: Api, pod: Object, container: Object, facts: PodFacts, source: Object
) -> str | None:
    namespace = pod["metadata"]["namespace"]
    if "fieldRef" in source:
        return pod_field(pod, source["fieldRef"]["fieldPath"], facts)
    if "resourceFieldRef" in source:
        return resource_field(pod, container, source["resourceFieldRef"], facts)
    if "configMapKeyRef" in source:
        reference = source["configMapKeyRef"]
        data = await config_map_data(api, namespace, reference)
        kind = "ConfigMap"
    elif "secretKeyRef" in source:
        reference = source["secretKeyRef"]
        data = await secret_data(api, namespace, reference)
        kind = "Secret"
    else:
        raise ConfigError(f"env valueFrom {', '.join(source)} is not supported")
    if data is None:
        return None
    if reference["key"] not in data:
        if reference.get("optional"):
            return None
        raise ConfigError(f"couldn't find key {reference['key']} in {kind} {namespace}/{reference['name']}")
    return data[reference["key"]].decode(errors="replace")


async def config_map_data(api: Api, namespace: str, reference: Object) -> dict[str, bytes] | None:
    """Return a ConfigMap's entries, or None if it isn't there and is optional."""
    body = await _get(api, "configmaps", "configmap", namespace, reference)
    if body is None:
        return None
    text = {name: value.encode() for name, value in (body.get("data") or {}).items()}
    return text | {name: base64.b64decode(value) for name, value in (body.get("binaryData") or {}).items()}


async def secret_data(api: Api, namespace: str, reference: Object) -> dict[str, bytes] | None:
    """Return a Secret's entries, or None if it isn't there and is optional."""
    body = await _get(api, "secrets", "secret", namespace, reference)
    if body is None:
        return None
    return {name: base64.b64decode(value) for name, value in (body.get("data") or {}).items()}


async def _get(api: Api, resource: str, word: str, namespace: str, reference: Object) -> Object | None:
    name = reference.get("name") or reference.get("secretName") or ""
    try:
        return await api.get(resource, namespace, name)
    except ApiError as error:
        if error.code != 404:
            raise
    if reference.get("optional"):
        return None
    raise ConfigError(f'{word} "{name}" not found')


def pod_field(pod: Object, path: str, facts: PodFacts) -> str:
    """Return what ``fieldRef`` names."""
    metadata = pod["metadata"]
    subscript = _SUBSCRIPT.match(path)
    if subscript:
        return str((metadata.get(subscript[1]) or {}).get(subscript[2], ""))
    fields = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.nodeName": facts.node_name,
        "spec.serviceAccountName": pod["spec"].get("serviceAccountName") or "default",
        "status.hostIP": facts.host_ip,
        "status.hostIPs": facts.host_ip,
        "status.podIP": facts.pod_ip,
        "status.podIPs": facts.pod_ip,
    }
    if path in ("metadata.labels", "metadata.annotations"):
        entries = metadata.get(path.rpartition(".")[2]) or {}
        return "\n".join(f'{name}="{_escaped(value)}"' for name, value in sorted(entries.items()))
    if path not in fields:
        raise ConfigError(f"unsupported fieldPath: {path}")
    return str(fields[path])


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def resource_field(pod: Object, container: Object, reference: Object, facts: PodFacts) -> str:
    """Return what ``resourceFieldRef`` names; a missing limit is the node's allocatable amount."""
    name = reference.get("containerName")
    if name:
        containers = [*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or [])]
        found = next((c for c in containers if c["name"] == name), None)
        if found is None:
            raise ConfigError(f"container {name} not found")
        container = found
    which, _, resource = reference["resource"].partition(".")
    resources = container.get("resources") or {}
    amounts = parse_resources(resources.get("limits"))
    if which == "limits":
        amounts = facts.allocatable | amounts
    else:
        amounts = amounts | parse_resources(resources.get("requests"))
    divisor = parse(reference.get("divisor") or 1) or Decimal(1)
    return str(math.ceil(amounts.get(resource, Decimal(0)) / divisor))


def service_environment(server: str, services: list[Object], wants_links: bool) -> Environment:
    """Return the variables by which a container finds the API server and, if it wants them, Services."""
    variables: Environment = {}
    for service in services if wants_links else []:
        spec = service["spec"]
        host = spec.get("clusterIP")
        if host and host != "None" and spec.get("ports"):
            ports = [(p.get("name") or "", p["port"], p.get("protocol") or "TCP") for p in spec["ports"]]
            variables |= _service_variables(service["metadata"]["name"], host, ports)
    address = urlsplit(server)
    if address.hostname:
        port = address.port or (443 if address.scheme == "https" else 80)
        variables |= _service_variables("kubernetes", address.hostname, [(address.scheme, port, "TCP")])
    return variables


def _service_variables(name: str, host: str, ports: list[tuple[str, int, str]]) -> Environment:
    prefix = name.upper().replace("-", "_")
    first = ports[0]
    variables = {
        f"{prefix}_SERVICE_HOST": host,
        f"{prefix}_SERVICE_PORT": str(first[1]),
        f"{prefix}_PORT": f"{first[2].lower()}://{host}:{first[1]}",
    }
    for port_name, port, protocol in ports:
        if port_name:
            variables[f"{prefix}_SERVICE_PORT_{port_name.upper().replace('-', '_')}"] = str(port)
        base = f"{prefix}_PORT_{port}_{protocol}"
        variables |= {
            base: f"{protocol.lower()}://{host}:{port}",
            f"{base}_PROTO": protocol.lower(),
            f"{base}_PORT": str(port),
            f"{base}_ADDR": host,
        }
    return variables
