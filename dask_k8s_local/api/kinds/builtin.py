"""The resources that Kubernetes has by itself, as far as they are served here."""

from __future__ import annotations

from dask_k8s_local.api.resource import Resource

_STATUS = ("status",)
_GROUPS = {
    "events.k8s.io": "events",
    "rbac.authorization.k8s.io": "rbac",
    "networking.k8s.io": "networking",
    "discovery.k8s.io": "discovery",
    "coordination.k8s.io": "coordination",
    "scheduling.k8s.io": "scheduling",
    "storage.k8s.io": "storage",
    "node.k8s.io": "node",
    "authorization.k8s.io": "authorization",
    "authentication.k8s.io": "authentication",
}
CRD = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition"
_ONLY_CREATE = ("create",)


def definition_name(resource: Resource) -> str:
    """Return the OpenAPI name of a built-in resource's kind."""
    if resource.kind == "CustomResourceDefinition":
        return CRD
    group = _GROUPS.get(resource.group, resource.group) or "core"
    return f"io.k8s.api.{group}.{resource.version}.{resource.kind}"


def _core(plural: str, kind: str, *short: str, **more: object) -> Resource:
    return Resource("", "v1", plural, kind, short_names=short, **more)  # type: ignore[arg-type]


def _grouped(group: str, version: str, plural: str, kind: str, *short: str, **more: object) -> Resource:
    return Resource(group, version, plural, kind, short_names=short, **more)  # type: ignore[arg-type]


_POD_SUBRESOURCES = (
    "attach",
    "binding",
    "ephemeralcontainers",
    "eviction",
    "exec",
    "log",
    "portforward",
    "proxy",
    "resize",
    "status",
)
_RBAC = "rbac.authorization.k8s.io"

BUILTIN: tuple[Resource, ...] = (
    _core("configmaps", "ConfigMap", "cm"),
    _core("endpoints", "Endpoints", "ep", singular="endpoints"),
    _core("events", "Event", "ev"),
    _core("limitranges", "LimitRange", "limits"),
    _core("namespaces", "Namespace", "ns", namespaced=False, subresources=("finalize", "status")),
    _core("nodes", "Node", "no", namespaced=False, subresources=_STATUS),
    _core("persistentvolumeclaims", "PersistentVolumeClaim", "pvc", subresources=_STATUS),
    _core("persistentvolumes", "PersistentVolume", "pv", namespaced=False, subresources=_STATUS),
    _core("pods", "Pod", "po", subresources=_POD_SUBRESOURCES, categories=("all",)),
    _core("podtemplates", "PodTemplate"),
    _core("resourcequotas", "ResourceQuota", "quota", subresources=_STATUS),
    _core("secrets", "Secret"),
    _core("serviceaccounts", "ServiceAccount", "sa", subresources=("token",)),
    _core("services", "Service", "svc", subresources=("proxy", "status"), categories=("all",)),
    _grouped(
        "apiextensions.k8s.io",
        "v1",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        "crd",
        "crds",
        namespaced=False,
        subresources=_STATUS,
        categories=("api-extensions",),
    ),
    _grouped("apps", "v1", "controllerrevisions", "ControllerRevision"),
    _grouped(
        "apps",
        "v1",
        "deployments",
        "Deployment",
        "deploy",
        subresources=("scale", "status"),
        categories=("all",),
    ),
    _grouped(
        "apps", "v1", "replicasets", "ReplicaSet", "rs", subresources=("scale", "status"), categories=("all",)
    ),
    _grouped(
        "authentication.k8s.io",
        "v1",
        "selfsubjectreviews",
        "SelfSubjectReview",
        namespaced=False,
        verbs=_ONLY_CREATE,
    ),
    _grouped(
        "authentication.k8s.io", "v1", "tokenreviews", "TokenReview", namespaced=False, verbs=_ONLY_CREATE
    ),
    _grouped(
        "authorization.k8s.io",
        "v1",
        "localsubjectaccessreviews",
        "LocalSubjectAccessReview",
        verbs=_ONLY_CREATE,
    ),
    _grouped(
        "authorization.k8s.io",
        "v1",
        "selfsubjectaccessreviews",
        "SelfSubjectAccessReview",
        namespaced=False,
        verbs=_ONLY_CREATE,
    ),
    _grouped(
        "authorization.k8s.io",
        "v1",
        "selfsubjectrulesreviews",
        "SelfSubjectRulesReview",
        namespaced=False,
        verbs=_ONLY_CREATE,
    ),
    _grouped(
        "authorization.k8s.io",
        "v1",
        "subjectaccessreviews",
        "SubjectAccessReview",
        namespaced=False,
        verbs=_ONLY_CREATE,
    ),
    _grouped(
        "autoscaling",
        "v2",
        "horizontalpodautoscalers",
        "HorizontalPodAutoscaler",
        "hpa",
        subresources=_STATUS,
        categories=("all",),
    ),
    _grouped("coordination.k8s.io", "v1", "leases", "Lease"),
    _grouped("events.k8s.io", "v1", "events", "Event", "ev"),
    _grouped("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice"),
    _grouped("networking.k8s.io", "v1", "ingressclasses", "IngressClass", namespaced=False),
    _grouped("networking.k8s.io", "v1", "ingresses", "Ingress", "ing", subresources=_STATUS),
    _grouped("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", "netpol"),
    _grouped("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", "pdb", subresources=_STATUS),
    _grouped(_RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False),
    _grouped(_RBAC, "v1", "clusterroles", "ClusterRole", namespaced=False),
    _grouped(_RBAC, "v1", "rolebindings", "RoleBinding"),
    _grouped(_RBAC, "v1", "roles", "Role"),
    _grouped("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", "pc", namespaced=False),
    _grouped("storage.k8s.io", "v1", "storageclasses", "StorageClass", "sc", namespaced=False),
)
