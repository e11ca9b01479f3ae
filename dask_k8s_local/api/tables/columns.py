"""What ``kubectl get`` shows of the built-in kinds, beside the name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dask_k8s_local.api.tables.durations import age
from dask_k8s_local.api.tables.pods import containers_ready, pod_status, readiness_gates, restarts
from dask_k8s_local.interfaces import Object
from dask_k8s_local.workloads.selectors import selector_text

_Spec = tuple[str, str, Callable[[Object], Any]] | tuple[str, str, Callable[[Object], Any], int]
_NONE = "<none>"


def _status(body: Object) -> Object:
    status: Object = body.get("status") or {}
    return status


def _spec(body: Object) -> Object:
    spec: Object = body.get("spec") or {}
    return spec


def _age(body: Object) -> str:
    return age(body["metadata"].get("creationTimestamp"))


AGE_ONLY: tuple[_Spec, ...] = (("Age", "date", _age),)


def _external_address(service: Object) -> str:
    spec = _spec(service)
    kind = spec.get("type", "ClusterIP")
    if kind == "ExternalName":
        return str(spec.get("externalName", _NONE))
    external = list(spec.get("externalIPs") or ())
    if kind == "LoadBalancer":
        ingress = (_status(service).get("loadBalancer") or {}).get("ingress") or ()
        external = [one.get("ip") or one.get("hostname") for one in ingress] + external
        return ",".join(external) or "<pending>"
    return ",".join(external) or _NONE


def _ports(service: Object) -> str:
    parts = []
    for port in _spec(service).get("ports") or ():
        number = f"{port['port']}:{port['nodePort']}" if port.get("nodePort") else str(port["port"])
        parts.append(f"{number}/{port.get('protocol', 'TCP')}")
    return ",".join(parts) or _NONE


def _pairs(pairs: dict[str, str] | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((pairs or {}).items())) or _NONE


def _images(body: Object) -> str:
    return ",".join(one.get("image", "") for one in _template_containers(body))


def _names(body: Object) -> str:
    return ",".join(one["name"] for one in _template_containers(body))


def _template_containers(body: Object) -> list[Object]:
    template = _spec(body).get("template") or {}
    containers: list[Object] = (template.get("spec") or {}).get("containers") or []
    return containers


def _selector(body: Object) -> str:
    return selector_text(_spec(body).get("selector")) or _NONE


def _event_time(event: Object) -> Any:
    series = event.get("series") or {}
    return (
        event.get("lastTimestamp")
        or series.get("lastObservedTime")
        or event.get("eventTime")
        or event.get("firstTimestamp")
        or event["metadata"].get("creationTimestamp")
    )


def _event_first(event: Object) -> str:
    return age(event.get("firstTimestamp") or event.get("eventTime") or _event_time(event))


def _event_object(event: Object) -> str:
    about = event.get("involvedObject") or {}
    return f"{about.get('kind', '').lower()}/{about.get('name', '')}"


def _event_source(event: Object) -> str:
    source = event.get("source") or {}
    parts = [
        source.get("component") or event.get("reportingComponent"),
        source.get("host") or event.get("reportingInstance"),
    ]
    return ", ".join(part for part in parts if part)


def _node_status(node: Object) -> str:
    conditions = {one["type"]: one["status"] for one in _status(node).get("conditions") or ()}
    words = (
        ["Ready" if conditions.get("Ready") == "True" else "NotReady"]
        if "Ready" in conditions
        else ["Unknown"]
    )
    if _spec(node).get("unschedulable"):
        words.append("SchedulingDisabled")
    return ",".join(words)


def _node_roles(node: Object) -> str:
    prefix = "node-role.kubernetes.io/"
    labels = node["metadata"].get("labels") or {}
    return ",".join(sorted(key.removeprefix(prefix) for key in labels if key.startswith(prefix))) or _NONE


def _node_info(key: str) -> Callable[[Object], str]:
    return lambda node: str((_status(node).get("nodeInfo") or {}).get(key, "<unknown>"))


def _node_address(kind: str) -> Callable[[Object], str]:
    return lambda node: next(
        (one["address"] for one in _status(node).get("addresses") or () if one["type"] == kind), _NONE
    )


def _endpoint_addresses(endpoints: Object) -> str:
    found = [
        f"{address['ip']}:{port['port']}" if port else address["ip"]
        for subset in endpoints.get("subsets") or ()
        for port in subset.get("ports") or (None,)
        for address in subset.get("addresses") or ()
    ]
    if len(found) > 3:
        return ",".join(found[:3]) + f" + {len(found) - 3} more..."
    return ",".join(found) or _NONE


def _slice_ports(body: Object) -> str:
    return ",".join(str(one.get("port")) for one in body.get("ports") or ()) or "<unset>"


def _slice_addresses(body: Object) -> str:
    found = [address for one in body.get("endpoints") or () for address in one.get("addresses") or ()]
    return ",".join(found[:3]) + (f" + {len(found) - 3} more..." if len(found) > 3 else "") or "<unset>"


def _quota(key: str) -> Callable[[Object], str]:
    def text(quota: Object) -> str:
        status = _status(quota)
        used, hard = status.get("used") or {}, status.get("hard") or _spec(quota).get("hard") or {}
        is_limit = key == "limits"
        return ", ".join(
            f"{name}: {used.get(name, '0')}/{limit}"
            for name, limit in sorted(hard.items())
            if name.startswith("limits.") is is_limit
        )

    return text


def _replicas_of(key: str) -> Callable[[Object], int]:
    return lambda body: int(_status(body).get(key) or 0)


def _desired(body: Object) -> int:
    return int(_spec(body).get("replicas", 1))


COLUMNS: dict[str, tuple[_Spec, ...]] = {
    "pods": (
        ("Ready", "string", containers_ready),
        ("Status", "string", pod_status),
        ("Restarts", "string", restarts),
        ("Age", "string", _age),
        ("IP", "string", lambda pod: _status(pod).get("podIP") or _NONE, 1),
        ("Node", "string", lambda pod: _spec(pod).get("nodeName") or _NONE, 1),
        ("Nominated Node", "string", lambda pod: _status(pod).get("nominatedNodeName") or _NONE, 1),
        ("Readiness Gates", "string", readiness_gates, 1),
    ),
    "services": (
        ("Type", "string", lambda service: _spec(service).get("type", "ClusterIP")),
        ("Cluster-IP", "string", lambda service: _spec(service).get("clusterIP") or _NONE),
        ("External-IP", "string", _external_address),
        ("Port(s)", "string", _ports),
        ("Age", "string", _age),
        ("Selector", "string", lambda service: _pairs(_spec(service).get("selector")), 1),
    ),
    "deployments.apps": (
        ("Ready", "string", lambda body: f"{_replicas_of('readyReplicas')(body)}/{_desired(body)}"),
        ("Up-to-date", "string", _replicas_of("updatedReplicas")),
        ("Available", "string", _replicas_of("availableReplicas")),
        ("Age", "string", _age),
        ("Containers", "string", _names, 1),
        ("Images", "string", _images, 1),
        ("Selector", "string", _selector, 1),
    ),
    "replicasets.apps": (
        ("Desired", "integer", _desired),
        ("Current", "integer", _replicas_of("replicas")),
        ("Ready", "integer", _replicas_of("readyReplicas")),
        ("Age", "string", _age),
        ("Containers", "string", _names, 1),
        ("Images", "string", _images, 1),
        ("Selector", "string", _selector, 1),
    ),
    "namespaces": (
        ("Status", "string", lambda body: _status(body).get("phase", "")),
        ("Age", "string", _age),
    ),
    "nodes": (
        ("Status", "string", _node_status),
        ("Roles", "string", _node_roles),
        ("Age", "string", _age),
        ("Version", "string", _node_info("kubeletVersion")),
        ("Internal-IP", "string", _node_address("InternalIP"), 1),
        ("External-IP", "string", _node_address("ExternalIP"), 1),
        ("OS-Image", "string", _node_info("osImage"), 1),
        ("Kernel-Version", "string", _node_info("kernelVersion"), 1),
        ("Container-Runtime", "string", _node_info("containerRuntimeVersion"), 1),
    ),
    "events": (
        ("Last Seen", "string", lambda event: age(_event_time(event))),
        ("Type", "string", lambda event: event.get("type", "")),
        ("Reason", "string", lambda event: event.get("reason", "")),
        ("Object", "string", _event_object),
        ("Subobject", "string", lambda event: (event.get("involvedObject") or {}).get("fieldPath", ""), 1),
        ("Source", "string", _event_source, 1),
        ("Message", "string", lambda event: (event.get("message") or event.get("note") or "").strip()),
        ("First Seen", "string", _event_first, 1),
        (
            "Count",
            "string",
            lambda event: event.get("count") or (event.get("series") or {}).get("count", 1),
            1,
        ),
        ("Name", "string", lambda event: event["metadata"]["name"], 1),
    ),
    "configmaps": (
        ("Data", "string", lambda body: len(body.get("data") or ()) + len(body.get("binaryData") or ())),
        ("Age", "string", _age),
    ),
    "secrets": (
        ("Type", "string", lambda body: body.get("type", "Opaque")),
        ("Data", "string", lambda body: len(body.get("data") or ())),
        ("Age", "string", _age),
    ),
    "serviceaccounts": (
        ("Secrets", "string", lambda body: len(body.get("secrets") or ())),
        ("Age", "string", _age),
    ),
    "endpoints": (("Endpoints", "string", _endpoint_addresses), ("Age", "string", _age)),
    "endpointslices.discovery.k8s.io": (
        ("AddressType", "string", lambda body: body.get("addressType", "")),
        ("Ports", "string", _slice_ports),
        ("Endpoints", "string", _slice_addresses),
        ("Age", "string", _age),
    ),
    "leases.coordination.k8s.io": (
        ("Holder", "string", lambda body: _spec(body).get("holderIdentity") or ""),
        ("Age", "string", _age),
    ),
    "resourcequotas": (
        ("Request", "string", _quota("requests")),
        ("Limit", "string", _quota("limits")),
        ("Age", "string", _age),
    ),
    "customresourcedefinitions.apiextensions.k8s.io": (
        ("Created At", "date", lambda body: body["metadata"].get("creationTimestamp")),
    ),
    "poddisruptionbudgets.policy": (
        ("Min Available", "string", lambda body: _plain(_spec(body).get("minAvailable", "N/A"))),
        ("Max Unavailable", "string", lambda body: _plain(_spec(body).get("maxUnavailable", "N/A"))),
        ("Allowed Disruptions", "integer", _replicas_of("disruptionsAllowed")),
        ("Age", "string", _age),
    ),
    "horizontalpodautoscalers.autoscaling": (
        (
            "Reference",
            "string",
            lambda body: "{kind}/{name}".format(
                **(_spec(body).get("scaleTargetRef") or {"kind": "", "name": ""})
            ),
        ),
        ("MinPods", "string", lambda body: _plain(_spec(body).get("minReplicas", 1))),
        ("MaxPods", "integer", lambda body: _spec(body).get("maxReplicas", 0)),
        ("Replicas", "integer", _replicas_of("currentReplicas")),
        ("Age", "string", _age),
    ),
    "priorityclasses.scheduling.k8s.io": (
        ("Value", "integer", lambda body: body.get("value", 0)),
        ("Global-Default", "boolean", lambda body: bool(body.get("globalDefault"))),
        ("Age", "string", _age),
    ),
    "roles.rbac.authorization.k8s.io": (
        ("Created At", "date", lambda body: body["metadata"].get("creationTimestamp")),
    ),
    "rolebindings.rbac.authorization.k8s.io": (
        ("Role", "string", lambda body: "{kind}/{name}".format(**body["roleRef"])),
        ("Age", "string", _age),
    ),
    "clusterrolebindings.rbac.authorization.k8s.io": (
        ("Role", "string", lambda body: "{kind}/{name}".format(**body["roleRef"])),
        ("Age", "string", _age),
    ),
}


def _plain(value: Any) -> str:
    return str(value)
