"""Which rights requests need, so that roles can be compared with what was done."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from tests.harness.kube import PLURALS, Object

Needed = tuple[str, str, str]
"""An API group, a resource with its subresource, and a verb."""

VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}
REVIEWS = ("authorization.k8s.io", "authentication.k8s.io")
"""What everybody may ask."""


def needed(method: str, path: str, query: Mapping[str, str], content_type: str, body: bytes) -> set[Needed]:
    """Return the rights that a request needs; none if it is for discovery.

    Parameters
    ----------
    method, path, query, content_type, body
        The request.
    """
    parts = path.strip("/").split("/")
    group, parts = ("", parts[2:]) if parts[0] == "api" else ("".join(parts[1:2]), parts[3:])
    if parts[:1] == ["namespaces"] and len(parts) > 2:
        parts = parts[2:]
    if not parts or group in REVIEWS or path.startswith(("/openapi", "/version")):
        return set()
    plural, name, subresource = parts[0], "".join(parts[1:2]), "".join(parts[2:3])
    if method == "DELETE":
        verb = "delete" if name else "deletecollection"
    elif method == "GET":
        verb = "get" if name else "watch" if "watch" in query else "list"
    else:
        verb = VERBS[method]
    found = {(group, f"{plural}/{subresource}" if subresource else plural, verb)}
    if content_type.startswith("application/apply-patch"):
        found.add((group, plural, "create"))
    if body and subresource != "proxy":
        found |= _owners(json.loads(body))
    return found


def _owners(body: object) -> set[Needed]:
    """Return what OwnerReferencesPermissionEnforcement asks of who lets an object block its owner's deletion.

    https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#ownerreferencespermissionenforcement
    """
    if isinstance(body, list):
        return {one for item in body for one in _owners(item)}
    if not isinstance(body, dict):
        return set()
    if "blockOwnerDeletion" not in body:
        return {one for value in body.values() for one in _owners(value)}
    if not body["blockOwnerDeletion"]:
        return set()
    group = body["apiVersion"].rpartition("/")[0]
    plural = PLURALS.get(body["kind"], body["kind"].lower() + "s")
    return {(group, f"{plural}/finalizers", "update")}


def granted(rules: Iterable[Object]) -> set[Needed]:
    """Return what the rules of a role allow, one by one."""
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
