"""Role-based access control: what users who aren't administrators may do.

https://kubernetes.io/docs/reference/access-authn-authz/rbac/
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dask_k8s_local.api.access.users import User
from dask_k8s_local.api.storage.store import Store
from dask_k8s_local.interfaces import ApiError, Object

_GROUP = "rbac.authorization.k8s.io"
_READ = ["get", "list", "watch"]
_WRITE = ["create", "delete", "deletecollection", "patch", "update"]
_EVERYTHING = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
_NO_SECRETS = [
    "configmaps",
    "endpoints",
    "events",
    "persistentvolumeclaims",
    "pods",
    "pods/log",
    "pods/status",
    "serviceaccounts",
    "services",
    "services/status",
]
_GROUPS = ["apps", "autoscaling", "batch", "discovery.k8s.io", "networking.k8s.io", "policy"]
_VIEW = [
    {"apiGroups": [""], "resources": _NO_SECRETS, "verbs": _READ},
    {"apiGroups": _GROUPS, "resources": ["*"], "verbs": _READ},
]
_EDIT = [
    *_VIEW,
    {
        "apiGroups": [""],
        "resources": [
            *_NO_SECRETS,
            *("pods/attach", "pods/eviction", "pods/exec", "pods/portforward", "pods/proxy"),
            *("secrets", "services/proxy"),
        ],
        "verbs": [*_READ, *_WRITE],
    },
    {"apiGroups": _GROUPS, "resources": ["*"], "verbs": [*_READ, *_WRITE]},
]
_ADMIN = [
    *_EDIT,
    {"apiGroups": [_GROUP], "resources": ["rolebindings", "roles"], "verbs": [*_READ, *_WRITE]},
]
CLUSTER_ROLES: dict[str, list[Object]] = {
    "admin": _ADMIN,
    "cluster-admin": [_EVERYTHING],
    "edit": _EDIT,
    "view": _VIEW,
}
"""The roles that every cluster has, with what users' bindings rely on."""


_AGGREGATED = ("admin", "edit", "view")
"""Each of them has the rules of those after it as well."""


def cluster_role(name: str) -> Object:
    """Return one of them, with the selectors of roles that are added to it."""
    role: Object = {"metadata": {"name": name}, "rules": CLUSTER_ROLES[name]}
    if name in _AGGREGATED:
        names = _AGGREGATED[_AGGREGATED.index(name) :]
        selectors = [{"matchLabels": {f"{_GROUP}/aggregate-to-{one}": "true"}} for one in names]
        role["aggregationRule"] = {"clusterRoleSelectors": selectors}
    return role


_FOR_EVERYBODY = ("authentication.k8s.io", "authorization.k8s.io")


@dataclass(frozen=True)
class Attributes:
    """What somebody wants to do."""

    verb: str
    group: str
    resource: str
    """With the subresource: ``pods/log``."""
    namespace: str = ""
    name: str = ""

    @property
    def plural(self) -> str:
        return self.resource.partition("/")[0]


class Authorizer:
    """Judges requests by the roles and bindings in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def authorize(self, user: User, wanted: Attributes) -> None:
        """Raise 403, worded as Kubernetes words it, unless the user may."""
        is_about_oneself = wanted.group in _FOR_EVERYBODY and wanted.plural.startswith("selfsubject")
        if is_about_oneself or self.allows(user, wanted):
            return
        place = f'in the namespace "{wanted.namespace}"' if wanted.namespace else "at the cluster scope"
        full_name = f"{wanted.plural}.{wanted.group}" if wanted.group else wanted.plural
        what = f'{full_name} "{wanted.name}"' if wanted.name else full_name
        raise ApiError(
            403,
            "Forbidden",
            f'{what} is forbidden: User "{user.name}" cannot {wanted.verb} resource "{wanted.resource}" '
            f'in API group "{wanted.group}" {place}',
            {
                key: value
                for key, value in (("name", wanted.name), ("group", wanted.group), ("kind", wanted.plural))
                if value
            },
        )

    def allows(self, user: User, wanted: Attributes) -> bool:
        return user.is_master or any(_permits(rule, wanted) for rule in self.rules(user, wanted.namespace))

    def rules(self, user: User, namespace: str) -> Iterator[Object]:
        """Yield the rules that hold for a user in a namespace."""
        bindings = [one.object for one in self._store.collection(f"clusterrolebindings.{_GROUP}").revisions()]
        if namespace:
            collection = self._store.collection(f"rolebindings.{_GROUP}")
            bindings += [one.object for one in collection.revisions() if one.key[0] == namespace]
        for binding in bindings:
            if any(_is_subject(subject, user) for subject in binding.get("subjects") or ()):
                yield from self._role_rules(binding)

    def _role_rules(self, binding: Object) -> list[Object]:
        reference = binding["roleRef"]
        is_cluster_role = reference["kind"] == "ClusterRole"
        resource = f"clusterroles.{_GROUP}" if is_cluster_role else f"roles.{_GROUP}"
        namespace = "" if is_cluster_role else binding["metadata"]["namespace"]
        role = self._store.collection(resource).get((namespace, reference["name"]))
        return [*self._aggregated(role.object), *(role.object.get("rules") or [])] if role else []

    def _aggregated(self, role: Object) -> Iterator[Object]:
        """Yield the rules of the cluster roles that a role's selectors gather."""
        for selector in (role.get("aggregationRule") or {}).get("clusterRoleSelectors") or ():
            wanted = (selector.get("matchLabels") or {}).items()
            for one in self._store.collection(f"clusterroles.{_GROUP}").revisions():
                if wanted <= (one.object["metadata"].get("labels") or {}).items():
                    yield from one.object.get("rules") or ()


def _is_subject(subject: Object, user: User) -> bool:
    kind, name = subject["kind"], subject["name"]
    if kind == "ServiceAccount":
        return user.name == f"system:serviceaccount:{subject.get('namespace', '')}:{name}"
    return name in user.groups if kind == "Group" else name == user.name


def _permits(rule: Object, wanted: Attributes) -> bool:
    verbs, groups = rule.get("verbs") or (), rule.get("apiGroups") or ()
    if not {"*", wanted.verb} & set(verbs) or not {"*", wanted.group} & set(groups):
        return False
    _, slash, subresource = wanted.resource.partition("/")
    resources = {"*", wanted.resource} | ({f"*/{subresource}"} if slash else set())
    names = rule.get("resourceNames")
    return bool(resources & set(rule.get("resources") or ())) and (not names or wanted.name in names)


def review_attributes(spec: Object) -> Attributes | None:
    """Read what an access review asks about; None if it isn't about resources."""
    about = spec.get("resourceAttributes")
    if about is None:
        return None
    resource, subresource = about.get("resource", ""), about.get("subresource", "")
    return Attributes(
        about.get("verb", ""),
        about.get("group", ""),
        f"{resource}/{subresource}" if subresource else resource,
        about.get("namespace", ""),
        about.get("name", ""),
    )
