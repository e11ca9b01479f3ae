"""The controllers: corners and wordings that the conformance tests leave out."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest

from dask_k8s_local.api import ApiServer
from dask_k8s_local.workloads import events
from dask_k8s_local.workloads.deployments import scaling, template_hash
from tests.local.api.http import Http, eventually
from tests.local.api.objects import CORE, PODS, pod

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
REPLICASETS = "/apis/apps/v1/namespaces/default/replicasets"
EVENTS = f"{CORE}/events"


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    server = ApiServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def http(server: ApiServer) -> AsyncIterator[Http]:
    context = ssl.create_default_context(cadata=server.ca_pem.decode())
    headers = {"Authorization": f"Bearer {server.token}"}
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(headers=headers, connector=connector) as session:
        yield Http(session, server.url)


def deployment(replicas: int = 3, image: str = "a:1", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "main", "image": image}]},
            },
            **spec,
        },
    }


async def make_ready(server: ApiServer) -> None:
    """Do what a node does: every pod becomes ready."""
    for number, one in enumerate(await server.client.list("pods", "default")):
        own = one["metadata"]
        if not (one.get("status") or {}).get("podIP"):
            await server.client.patch("pods", "default", own["name"], {"spec": {"nodeName": "n"}})
            status = {
                "phase": "Running",
                "podIP": f"127.7.0.{number + 1}",
                "conditions": [
                    {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
                ],
            }
            await server.client.patch("pods", "default", own["name"], {"status": status}, "status")
        elif "deletionTimestamp" in own:
            await server.client.delete("pods", "default", own["name"], grace_period_seconds=0)


def condition(path: str, http: Http, holds: Callable[[dict[str, Any]], bool]) -> Callable[[], Any]:
    async def check() -> bool:
        return holds((await http.get(path)).body)

    return check


async def test_endpoints_follow_ready_pods(http: Http, server: ApiServer) -> None:
    spec = {"selector": {"app": "a"}, "ports": [{"name": "web", "port": 80, "targetPort": "http"}]}
    await http.post(f"{CORE}/services", {"metadata": {"name": "s"}, "spec": spec})
    body = pod(containers=[{"name": "m", "image": "a", "ports": [{"name": "http", "containerPort": 8080}]}])
    body["metadata"]["labels"] = {"app": "a"}
    await http.post(PODS, body)
    path = f"{CORE}/endpoints/s"
    await eventually(
        condition(path, http, lambda body: body["kind"] == "Endpoints" and "subsets" not in body)
    )
    await make_ready(server)
    await eventually(condition(path, http, lambda body: "subsets" in body))
    (subset,) = (await http.get(path)).body["subsets"]
    assert subset["addresses"][0]["ip"] == "127.7.0.1"
    assert subset["addresses"][0]["targetRef"]["name"] == "one"
    assert subset["ports"] == [{"name": "web", "port": 8080, "protocol": "TCP"}]
    slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
    (one,) = (await http.get(slices, labelSelector="kubernetes.io/service-name=s")).body["items"]
    assert one["endpoints"][0]["conditions"]["ready"] is True
    unready = {"conditions": [{"type": "Ready", "status": "False"}], "podIP": "127.7.0.1", "phase": "Running"}
    await server.client.patch("pods", "default", "one", {"status": unready}, "status")
    await eventually(condition(path, http, lambda body: "notReadyAddresses" in body["subsets"][0]))
    await server.client.patch("pods", "default", "one", {"metadata": {"labels": {"app": "b"}}})
    await eventually(condition(path, http, lambda body: "subsets" not in body))
    await http.delete(f"{CORE}/services/s")
    await eventually(condition(path, http, lambda body: body["kind"] == "Status"))


async def test_a_new_template_rolls_out_without_a_gap(http: Http, server: ApiServer) -> None:
    await http.post(DEPLOYMENTS, deployment())
    await eventually(condition(PODS, http, lambda body: len(body["items"]) == 3))
    await make_ready(server)
    path = f"{DEPLOYMENTS}/web"
    await eventually(condition(path, http, lambda body: body["status"].get("availableReplicas") == 3))
    image = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "a:2"}]}}}}
    await http.patch(path, image)

    async def has_rolled_out() -> bool:
        await make_ready(server)
        pods = (await http.get(PODS)).body["items"]
        ready = sum("podIP" in one["status"] and "deletionTimestamp" not in one["metadata"] for one in pods)
        assert ready >= 2
        images = {one["spec"]["containers"][0]["image"] for one in pods}
        return images == {"a:2"} and len(pods) == 3

    await eventually(has_rolled_out)
    sets = {
        one["metadata"]["annotations"]["deployment.kubernetes.io/revision"]: one
        for one in (await http.get(REPLICASETS)).body["items"]
    }
    assert {key: one["spec"]["replicas"] for key, one in sets.items()} == {"1": 0, "2": 3}


async def test_a_rollout_that_stands_still_is_told(http: Http, server: ApiServer) -> None:
    await http.post(DEPLOYMENTS, deployment(replicas=1, progressDeadlineSeconds=1))

    def has_timed_out(body: dict[str, Any]) -> bool:
        conditions = {one["type"]: one for one in body.get("status", {}).get("conditions") or ()}
        return conditions.get("Progressing", {}).get("reason") == "ProgressDeadlineExceeded"

    await eventually(condition(f"{DEPLOYMENTS}/web", http, has_timed_out), seconds=10)


async def test_bad_deployments_are_refused(http: Http) -> None:
    other = deployment()
    other["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
    answer = await http.post(DEPLOYMENTS, other)
    assert "`selector` does not match template `labels`" in answer.message
    await http.post(DEPLOYMENTS, deployment())
    changed = {
        "spec": {"selector": {"matchLabels": {"x": "y"}}, "template": {"metadata": {"labels": {"x": "y"}}}}
    }
    answer = await http.patch(f"{DEPLOYMENTS}/web", changed)
    assert "field is immutable" in answer.message


async def test_pods_that_may_not_be_created_are_told_of(http: Http) -> None:
    await http.post(f"{CORE}/resourcequotas", {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1"}}})
    await http.post(DEPLOYMENTS, deployment(replicas=2))

    async def is_told() -> bool:
        listed = (await http.get(EVENTS)).body["items"]
        return any("exceeded quota" in one["message"] and one["type"] == "Warning" for one in listed)

    await eventually(is_told)
    path = f"{CORE}/resourcequotas/q"
    await eventually(condition(path, http, lambda body: body.get("status", {}).get("used") == {"pods": "1"}))
    await http.patch(path, {"spec": {"hard": {"pods": "5"}}})
    await eventually(condition(PODS, http, lambda body: len(body["items"]) == 2))


async def test_a_budget_counts_healthy_pods(http: Http, server: ApiServer) -> None:
    budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "web"}}}
    await http.post(budgets, {"metadata": {"name": "b"}, "spec": spec})
    await http.post(DEPLOYMENTS, deployment())
    await eventually(condition(PODS, http, lambda body: len(body["items"]) == 3))
    await make_ready(server)
    await eventually(condition(f"{budgets}/b", http, lambda body: body["status"]["disruptionsAllowed"] == 1))
    first, second, _ = [pod["metadata"]["name"] for pod in (await http.get(PODS)).body["items"]]
    assert (await http.post(f"{PODS}/{first}/eviction", {"metadata": {"name": first}})).status == 201
    refused = await http.post(f"{PODS}/{second}/eviction", {"metadata": {"name": second}})
    assert (refused.status, refused.body["reason"]) == (429, "TooManyRequests")


async def test_a_budget_may_let_pods_go_that_are_not_ready(http: Http, server: ApiServer) -> None:
    budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "web"}}}
    await http.post(budgets, {"metadata": {"name": "b"}, "spec": spec})
    await http.post(DEPLOYMENTS, deployment())
    await eventually(condition(PODS, http, lambda body: len(body["items"]) == 3))
    name = (await http.get(PODS)).body["items"][0]["metadata"]["name"]
    await server.client.patch("pods", "default", name, {"status": {"phase": "Running"}}, "status")
    eviction = {"metadata": {"name": name}}
    assert (await http.post(f"{PODS}/{name}/eviction", eviction)).status == 429
    await http.patch(f"{budgets}/b", {"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}})
    assert (await http.post(f"{PODS}/{name}/eviction", eviction)).status == 201


async def test_events_are_forgotten(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "TTL_SECONDS", 0.2)
    body = {
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "name": "one", "namespace": "default"},
        "reason": "Tested",
        "message": "a test",
        "type": "Normal",
    }
    assert (await http.post(EVENTS, body)).status == 201
    listed = await http.get(EVENTS, fieldSelector="involvedObject.name=one,type=Normal")
    assert len(listed.body["items"]) == 1
    await eventually(condition(EVENTS, http, lambda body: not body["items"]))


def replica_set(name: str, revision: int, replicas: int, available: int) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "annotations": {"deployment.kubernetes.io/revision": str(revision)}},
        "spec": {"replicas": replicas},
        "status": {"replicas": replicas, "availableReplicas": available},
    }


def rolling(replicas: int, surge: Any, unavailable: Any) -> dict[str, Any]:
    limits = {"maxSurge": surge, "maxUnavailable": unavailable}
    return {"spec": {"replicas": replicas, "strategy": {"type": "RollingUpdate", "rollingUpdate": limits}}}


def test_a_rollout_surges_first() -> None:
    old, new = replica_set("old", 1, 3, 3), replica_set("new", 2, 0, 0)
    assert scaling(rolling(3, 1, 0), new, [old, new]) == {"new": 1}


def test_a_rollout_removes_as_many_as_may_be_unavailable() -> None:
    old, new = replica_set("old", 1, 4, 4), replica_set("new", 2, 0, 0)
    assert scaling(rolling(4, 0, "25%"), new, [old, new]) == {"new": 0, "old": 3}


def test_unhealthy_old_pods_go_first() -> None:
    old, new = replica_set("old", 1, 3, 1), replica_set("new", 2, 1, 0)
    assert scaling(rolling(3, 1, 0), new, [old, new])["old"] == 1


def test_recreate_waits_until_the_old_ones_are_gone() -> None:
    recreate = {"spec": {"replicas": 2, "strategy": {"type": "Recreate"}}}
    old, new = replica_set("old", 1, 2, 2), replica_set("new", 2, 0, 0)
    assert scaling(recreate, new, [old, new]) == {"old": 0}
    gone = replica_set("old", 1, 0, 0)
    assert scaling(recreate, new, [gone, new]) == {"old": 0, "new": 2}


def test_the_same_template_has_the_same_hash() -> None:
    assert (
        template_hash({"a": 1, "b": 2}) == template_hash({"b": 2, "a": 1}) != template_hash({"a": 2, "b": 2})
    )
