"""Who may do what: tokens, roles, bindings, reviews."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dask_k8s_local.api import ApiServer
from tests.local.api.http import Http
from tests.local.api.objects import CORE, MAPS, PODS, config_map, pod

RBAC = "/apis/rbac.authorization.k8s.io/v1"
ROLES = f"{RBAC}/namespaces/default/roles"
BINDINGS = f"{RBAC}/namespaces/default/rolebindings"
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
GROUP = "rbac.authorization.k8s.io"


def role(*rules: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": "r"}, "rules": list(rules)}


def rule(resources: list[str], verbs: list[str], **more: Any) -> dict[str, Any]:
    return {"apiGroups": [""], "resources": resources, "verbs": verbs, **more}


def binding(subject: dict[str, str], kind: str = "Role", name: str = "r") -> dict[str, Any]:
    reference = {"apiGroup": GROUP, "kind": kind, "name": name}
    return {"metadata": {"name": "b"}, "roleRef": reference, "subjects": [subject]}


LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"


async def test_without_a_role_everything_is_forbidden(client: Callable[..., Http]) -> None:
    http = client(user="alice", groups=())
    answer = await http.get(PODS)
    assert (answer.status, answer.body["reason"]) == (403, "Forbidden")
    assert answer.message == (
        'pods is forbidden: User "alice" cannot list resource "pods" in API group "" '
        'in the namespace "default"'
    )
    assert (await http.get(f"{MAPS}/one")).message == (
        'configmaps "one" is forbidden: User "alice" cannot get resource "configmaps" in API group "" '
        'in the namespace "default"'
    )
    assert (await http.get("/apis/apps/v1/deployments")).message == (
        'deployments.apps is forbidden: User "alice" cannot list resource "deployments" in API group "apps" '
        "at the cluster scope"
    )
    assert (await http.get("/version")).status == 200
    assert (await http.get("/apis/apps/v1")).status == 200


async def test_a_role_allows_what_it_says(http: Http, client: Callable[..., Http]) -> None:
    await http.post(PODS, pod())
    await http.post(ROLES, role(rule(["pods"], ["get", "list"]), rule(["pods/log"], ["get"])))
    await http.post(BINDINGS, binding({"kind": "User", "name": "alice", "apiGroup": GROUP}))
    alice = client(user="alice", groups=())
    assert (await alice.get(f"{PODS}/one")).status == 200
    assert (await alice.get(PODS)).status == 200
    assert (await alice.get(f"{PODS}/one/log")).status == 204
    for answer in (
        await alice.delete(f"{PODS}/one"),
        await alice.get(PODS, watch="true"),
        await alice.get(f"{PODS}/one/status"),
        await alice.get("/api/v1/pods"),
        await alice.get("/api/v1/namespaces/kube-system/pods"),
    ):
        assert answer.status == 403


async def test_rules_can_be_for_names(http: Http, client: Callable[..., Http]) -> None:
    for name in ("one", "two"):
        await http.post(MAPS, config_map(name))
    await http.post(ROLES, role(rule(["configmaps"], ["get", "list"], resourceNames=["one"])))
    await http.post(BINDINGS, binding({"kind": "Group", "name": "team", "apiGroup": GROUP}))
    member = client(user="bob", groups=("team",))
    assert (await member.get(f"{MAPS}/one")).status == 200
    assert (await member.get(f"{MAPS}/two")).status == 403
    assert (await member.get(MAPS)).status == 403
    assert (await member.get(MAPS, fieldSelector="metadata.name=one")).status == 200


async def test_cluster_roles_hold_everywhere_or_where_they_are_bound(
    http: Http, client: Callable[..., Http]
) -> None:
    viewer = {"kind": "User", "name": "viewer", "apiGroup": GROUP}
    await http.post(BINDINGS, binding(viewer, "ClusterRole", "view"))
    there = client(user="viewer", groups=())
    assert (await there.get(PODS)).status == 200
    assert (await there.get(f"{CORE}/secrets")).status == 403
    assert (await there.get("/api/v1/pods")).status == 403
    everywhere = {"kind": "User", "name": "boss", "apiGroup": GROUP}
    await http.post(f"{RBAC}/clusterrolebindings", binding(everywhere, "ClusterRole", "cluster-admin"))
    assert (await client(user="boss", groups=()).get("/api/v1/nodes")).status == 200


async def test_roles_of_others_are_added_to_edit_by_their_labels(
    http: Http, client: Callable[..., Http]
) -> None:
    await http.post(
        BINDINGS, binding({"kind": "User", "name": "alice", "apiGroup": GROUP}, "ClusterRole", "edit")
    )
    alice = client(user="alice", groups=())
    assert (await alice.get(LEASES)).status == 403
    more = {
        "metadata": {"name": "more", "labels": {f"{GROUP}/aggregate-to-view": "true"}},
        "rules": [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["list"]}],
    }
    await http.post(f"{RBAC}/clusterroles", more)
    assert (await alice.get(LEASES)).status == 200


async def test_service_accounts_are_users(http: Http, server: ApiServer, client: Callable[..., Http]) -> None:
    subject = {"kind": "ServiceAccount", "name": "robot", "namespace": "default"}
    await http.post(ROLES, role(rule(["pods"], ["*"])))
    await http.post(BINDINGS, binding(subject))
    robot = client(user="system:serviceaccount:default:robot", groups=())
    assert (await robot.post(PODS, pod())).status == 201
    token = server.service_account_token("default", "robot")
    headers = {"Authorization": f"Bearer {token}"}
    async with http.session.get(f"{http.url}{PODS}/one", headers=headers) as response:
        assert response.status == 200


async def test_access_reviews_tell_the_truth(http: Http, client: Callable[..., Http]) -> None:
    await http.post(ROLES, role(rule(["pods"], ["list"])))
    await http.post(BINDINGS, binding({"kind": "User", "name": "alice", "apiGroup": GROUP}))
    alice = client(user="alice", groups=())

    async def may(client: Http, verb: str) -> bool:
        about = {"verb": verb, "resource": "pods", "namespace": "default"}
        answer = await client.post(REVIEWS, {"spec": {"resourceAttributes": about}})
        return bool(answer.body["status"]["allowed"])

    assert [await may(alice, "list"), await may(alice, "create"), await may(http, "create")] == [
        True,
        False,
        True,
    ]


async def test_administrators_can_ask_in_the_name_of_others(http: Http, client: Callable[..., Http]) -> None:
    headers = {"Impersonate-User": "alice"}
    async with http.session.get(http.url + PODS, headers=headers) as response:
        assert response.status == 403
    alice = client(user="alice", groups=())
    headers = {"Impersonate-User": "kubernetes-admin", "Impersonate-Group": "system:masters"}
    async with alice.session.get(alice.url + PODS, headers=headers) as response:
        assert 'cannot impersonate resource "users"' in (await response.json())["message"]
    async with http.session.get(http.url + PODS, headers={"Impersonate-Group": "one"}) as response:
        assert response.status == 500


async def test_nobody_asks_about_others_without_a_right(http: Http, client: Callable[..., Http]) -> None:
    review = {"spec": {"user": "bob", "resourceAttributes": {"verb": "list", "resource": "pods"}}}
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    alice = client(user="alice", groups=())
    assert (await alice.post(path, review)).status == 403
    assert (await http.post(path, review)).status == 201
