"""Requests in Kubernetes' protobuf, which ``kubectl create`` and ``kubectl auth`` insist on.

Only what those commands send is known here: the numbers of the fields; their types are those of the
definitions. Everything else is refused, and answers are always JSON.
https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from dask_k8s_local.api import errors
from dask_k8s_local.api.schema.compiled import definitions
from dask_k8s_local.interfaces import Object

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_REF = "#/definitions/"
_OBJECT = {1: "metadata", 2: "spec", 3: "status"}
_FIELDS: dict[str, dict[int, str]] = {
    "v1.AggregationRule": {1: "clusterRoleSelectors"},
    "v1.BoundObjectReference": {1: "kind", 2: "apiVersion", 3: "name", 4: "uid"},
    "v1.ClusterRole": {1: "metadata", 2: "rules", 3: "aggregationRule"},
    "v1.ClusterRoleBinding": {1: "metadata", 2: "subjects", 3: "roleRef"},
    "v1.ConfigMap": {1: "metadata", 2: "data", 3: "binaryData", 4: "immutable"},
    "v1.Container": {
        1: "name",
        2: "image",
        3: "command",
        4: "args",
        5: "workingDir",
        6: "ports",
        7: "env",
        8: "resources",
        13: "terminationMessagePath",
        14: "imagePullPolicy",
        16: "stdin",
        17: "stdinOnce",
        18: "tty",
        20: "terminationMessagePolicy",
    },
    "v1.ContainerPort": {1: "name", 2: "hostPort", 3: "containerPort", 4: "protocol", 5: "hostIP"},
    "v1.DeleteOptions": {
        1: "gracePeriodSeconds",
        2: "preconditions",
        3: "orphanDependents",
        4: "propagationPolicy",
        5: "dryRun",
    },
    "v1.Deployment": _OBJECT,
    "v1.DeploymentSpec": {
        1: "replicas",
        2: "selector",
        3: "template",
        4: "strategy",
        5: "minReadySeconds",
        6: "revisionHistoryLimit",
        7: "paused",
        9: "progressDeadlineSeconds",
    },
    "v1.DeploymentStrategy": {1: "type", 2: "rollingUpdate"},
    "v1.EnvVar": {1: "name", 2: "value"},
    "v1.Eviction": {1: "metadata", 2: "deleteOptions"},
    "v1.LabelSelector": {1: "matchLabels", 2: "matchExpressions"},
    "v1.LabelSelectorRequirement": {1: "key", 2: "operator", 3: "values"},
    "v1.Namespace": _OBJECT,
    "v1.NamespaceSpec": {1: "finalizers"},
    "v1.NonResourceAttributes": {1: "path", 2: "verb"},
    "v1.ObjectMeta": {
        1: "name",
        2: "generateName",
        3: "namespace",
        4: "selfLink",
        5: "uid",
        6: "resourceVersion",
        7: "generation",
        8: "creationTimestamp",
        11: "labels",
        12: "annotations",
        14: "finalizers",
    },
    "v1.PodDisruptionBudget": _OBJECT,
    "v1.PodDisruptionBudgetSpec": {
        1: "minAvailable",
        2: "selector",
        3: "maxUnavailable",
        4: "unhealthyPodEvictionPolicy",
    },
    "v1.PodSpec": {2: "containers", 3: "restartPolicy", 6: "dnsPolicy", 19: "schedulerName"},
    "v1.PodTemplateSpec": {1: "metadata", 2: "spec"},
    "v1.PolicyRule": {
        1: "verbs",
        2: "apiGroups",
        3: "resources",
        4: "resourceNames",
        5: "nonResourceURLs",
    },
    "v1.Preconditions": {1: "uid", 2: "resourceVersion"},
    "v1.PriorityClass": {
        1: "metadata",
        2: "value",
        3: "globalDefault",
        4: "description",
        5: "preemptionPolicy",
    },
    "v1.ResourceAttributes": {
        1: "namespace",
        2: "verb",
        3: "group",
        4: "version",
        5: "resource",
        6: "subresource",
        7: "name",
    },
    "v1.ResourceQuota": _OBJECT,
    "v1.ResourceQuotaSpec": {1: "hard", 2: "scopes"},
    "v1.ResourceRequirements": {1: "limits", 2: "requests"},
    "v1.Role": {1: "metadata", 2: "rules"},
    "v1.RoleBinding": {1: "metadata", 2: "subjects", 3: "roleRef"},
    "v1.RoleRef": {1: "apiGroup", 2: "kind", 3: "name"},
    "v1.Secret": {1: "metadata", 2: "data", 3: "type", 4: "stringData", 5: "immutable"},
    "v1.SelfSubjectAccessReview": _OBJECT,
    "v1.SelfSubjectAccessReviewSpec": {1: "resourceAttributes", 2: "nonResourceAttributes"},
    "v1.SelfSubjectReview": {1: "metadata", 2: "status"},
    "v1.SelfSubjectRulesReview": _OBJECT,
    "v1.SelfSubjectRulesReviewSpec": {1: "namespace"},
    "v1.Service": _OBJECT,
    "v1.ServiceAccount": {1: "metadata", 4: "automountServiceAccountToken"},
    "v1.ServicePort": {1: "name", 2: "protocol", 3: "port", 4: "targetPort", 5: "nodePort", 6: "appProtocol"},
    "v1.ServiceSpec": {
        1: "ports",
        2: "selector",
        3: "clusterIP",
        4: "type",
        5: "externalIPs",
        7: "sessionAffinity",
        8: "loadBalancerIP",
        10: "externalName",
        11: "externalTrafficPolicy",
        12: "healthCheckNodePort",
        13: "publishNotReadyAddresses",
    },
    "v1.Subject": {1: "kind", 2: "apiGroup", 3: "name", 4: "namespace"},
    "v1.TokenRequest": _OBJECT,
    "v1.TokenRequestSpec": {1: "audiences", 3: "boundObjectRef", 4: "expirationSeconds"},
    "v2.CrossVersionObjectReference": {1: "kind", 2: "name", 3: "apiVersion"},
    "v2.HorizontalPodAutoscaler": _OBJECT,
    "v2.HorizontalPodAutoscalerSpec": {
        1: "scaleTargetRef",
        2: "minReplicas",
        3: "maxReplicas",
        4: "metrics",
    },
    "v2.MetricSpec": {1: "type", 4: "resource"},
    "v2.MetricTarget": {1: "type", 2: "value", 3: "averageValue", 4: "averageUtilization"},
    "v2.ResourceMetricSource": {1: "name", 2: "target"},
}
_MEANS_SOMETHING_AT_ZERO = ("replicas", "gracePeriodSeconds", "value")


def decoded(data: bytes) -> Object:
    """Return the object of a request's body."""
    if not data.startswith(_MAGIC):
        raise errors.bad_request("the body doesn't begin as Kubernetes' protobuf does")
    try:
        envelope = dict(_fields(data[len(_MAGIC) :]))
        kind = {number: bytes(value).decode() for number, value in _fields(envelope[1])}
        body = _message(_definition_of(kind.get(1, ""), kind.get(2, "")), envelope.get(2, b""))
    except (IndexError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise errors.unsupported_media_type(("application/json", "application/yaml")) from error
    return {"apiVersion": kind.get(1, ""), "kind": kind.get(2, ""), **body}


def _definition_of(api_version: str, kind: str) -> str:
    group, _, version = api_version.rpartition("/")
    for name, definition in definitions().items():
        if isinstance(definition, dict):
            for one in definition.get("x-kubernetes-group-version-kind") or ():
                if (one["group"], one["version"], one["kind"]) == (group, version, kind):
                    return name
    raise KeyError(kind)


def _fields(data: Any) -> Iterator[tuple[int, Any]]:
    """Yield the numbered fields of a message: whole numbers, or bytes."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        wire = tag & 7
        if wire == 0:
            value, position = _varint(data, position)
            yield tag >> 3, value
        elif wire == 2:
            size, position = _varint(data, position)
            yield tag >> 3, data[position : position + size]
            position += size
        else:
            raise KeyError(f"wire type {wire}")


def _varint(data: Any, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position


def _message(name: str, data: Any) -> Any:
    short = name.rpartition(".")[2]
    if short in ("Quantity", "IntOrString", "Time"):
        return _scalar_message(short, dict(_fields(data)))
    known = _FIELDS[".".join(name.split(".")[-2:])]
    properties = definitions()[name].get("properties") or {}
    body: Object = {}
    for number, raw in _fields(data):
        # Go sends what isn't a pointer even when it is nothing.
        if number not in known and raw in (0, b""):
            continue
        key = known[number]
        if key == "status":
            continue
        schema = properties[key]
        if schema.get("type") == "array":
            body.setdefault(key, []).append(_value(schema["items"], raw))
        elif schema.get("additionalProperties"):
            entry = dict(_fields(raw))
            value = _value(schema["additionalProperties"], entry.get(2, b""))
            body.setdefault(key, {})[bytes(entry[1]).decode()] = value
        else:
            value = _value(schema, raw)
            if value or key in _MEANS_SOMETHING_AT_ZERO:
                body[key] = value
    return body


def _scalar_message(kind: str, fields: dict[int, Any]) -> Any:
    if kind == "Quantity":
        return bytes(fields.get(1, b"")).decode()
    if kind == "IntOrString":
        return bytes(fields.get(3, b"")).decode() if fields.get(1) else fields.get(2, 0)
    seconds = fields.get(1)
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _value(schema: Object, raw: Any) -> Any:
    reference = schema.get("$ref")
    if reference is not None:
        return _message(reference.removeprefix(_REF), raw)
    kind = schema.get("type")
    if kind == "boolean":
        return bool(raw)
    if kind == "integer":
        return raw - (1 << 64) if raw >= 1 << 63 else raw
    if schema.get("format") == "byte":
        return base64.b64encode(raw).decode()
    return bytes(raw).decode()
