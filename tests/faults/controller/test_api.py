"""The writer, against an HTTP server that answers what a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace

import aiohttp
import pytest
from aiohttp import web

from dask_k8s_controller.kubernetes.api import Api
from dask_k8s_controller.kubernetes.connection import Connection
from dask_k8s_controller.kubernetes.errors import Conflict, Refused, Unavailable
from dask_k8s_controller.kubernetes.resources import CLUSTERS, PODS, SERVICES, WATCHED
from dask_k8s_controller.settings import Limits
from dask_k8s_controller.watching.rights import KindsMissing, discover
from tests.harness.stand_in import (
    Handler,
    StandIn,
    breaks_the_connection,
    gives,
    never_answers,
    refusal,
    says,
)

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "uid": "u"}}
SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "uid": "u"}}


POD_IS = 'pods "p" is forbidden:'


class ApiServer(StandIn):
    """Knows the sessions that the controller has had."""

    sessions: list[aiohttp.ClientSession]

    @property
    def logins(self) -> int:
        return len(self.sessions)


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with ApiServer() as server:
        server.sessions = []
        yield server


@pytest.fixture
async def api(server: ApiServer) -> AsyncIterator[Api]:
    async def log_in() -> Connection:
        session = aiohttp.ClientSession(headers={"Authorization": f"Bearer {server.logins}"})
        server.sessions.append(session)
        return Connection(server.url, session, False, "default")

    limits = Limits(concurrency=3, timeout=0.5, attempts=3, first_delay=0.01, longest_delay=0.05)
    api = Api(log_in, limits=limits)
    yield api
    await api.close()


class TestCreating:
    async def test_asks_for_strict_validation_in_our_name(self, api: Api, server: ApiServer) -> None:
        server.answers = [gives(POD, 201)]
        assert await api.create(PODS, "default", POD) == POD
        (request,) = server.requests
        assert (request.method, request.path) == ("POST", "/api/v1/namespaces/default/pods")
        assert dict(request.query) == {
            "fieldManager": "dask-k8s-controller",
            "fieldValidation": "Strict",
        }

    async def test_what_exists_already_is_success(self, api: Api, server: ApiServer) -> None:
        server.answers = [refusal(409, "AlreadyExists"), gives(POD)]
        assert await api.create(PODS, "default", POD) == POD
        assert [request.method for request in server.requests] == ["POST", "GET"]

    async def test_an_answer_that_got_lost_is_asked_for_again(self, api: Api, server: ApiServer) -> None:
        server.answers = [breaks_the_connection, refusal(409, "AlreadyExists"), gives(POD)]
        assert await api.create(PODS, "default", POD) == POD
        assert [body for body in server.bodies if body] == [POD, POD]

    async def test_a_refusal_says_what_the_api_server_says(self, api: Api, server: ApiServer) -> None:
        server.answers = [refusal(403, "Forbidden", 'pods "p" is forbidden: exceeded quota')]
        with pytest.raises(Refused, match="exceeded quota") as caught:
            await api.create(PODS, "default", POD)
        assert caught.value.code == 403
        assert len(server.requests) == 1

    @pytest.mark.parametrize(
        ("message", "by"),
        [
            (
                'pods is forbidden: User "system:serviceaccount:dask:dask" cannot create resource "pods" in '
                'API group "" in the namespace "default"',
                "rights",
            ),
            ('forbidden: User "system:anonymous" cannot get path "/apis/kubernetes.dask.org/v1"', "rights"),
            (f"{POD_IS} cannot set blockOwnerDeletion if an ownerReference refers to a resource …", "rights"),
            (f"{POD_IS} exceeded quota: few, requested: pods=1, used: pods=4, limited: pods=4", "quota"),
            (f"{POD_IS} failed quota: few: must specify memory for: worker", "quota"),
            (f'{POD_IS} violates PodSecurity "restricted:latest": runAsNonRoot != true', "admission"),
            (f"{POD_IS} maximum memory usage per Container is 1Gi, but limit is 2Gi", "admission"),
            (
                f"{POD_IS} unable to create new content in namespace a because it is being terminated",
                "admission",
            ),
            ('admission webhook "policy.example.com" denied the request: no User may "cannot "', "admission"),
            ("", "admission"),
        ],
    )
    async def test_what_is_forbidden_is_told_with_what_forbids_it(
        self, api: Api, server: ApiServer, message: str, by: str
    ) -> None:
        told: list[tuple[str, str, str]] = []
        api.on_forbidden = lambda *forbidden: told.append(forbidden)
        server.answers = [refusal(403, "Forbidden", message)]
        with pytest.raises(Refused):
            await api.create(PODS, "default", POD)
        assert told == [("create", "Pod", by)]


class TestApplying:
    async def test_is_server_side_and_forced(self, api: Api, server: ApiServer) -> None:
        server.answers = [gives(SERVICE)]
        await api.apply(SERVICES, "default", SERVICE, "u")
        _, request = server.requests
        assert (request.method, request.path) == ("PATCH", "/api/v1/namespaces/default/services/s")
        assert request.content_type == "application/apply-patch+yaml"
        assert request.query["force"] == "true"
        assert request.query["fieldManager"] == "dask-k8s-controller"
        assert server.bodies[-1]["metadata"]["uid"] == "u"

    async def test_another_object_of_that_name_is_left_alone(self, api: Api, server: ApiServer) -> None:
        server.answers = [gives(SERVICE)]
        assert await api.apply(SERVICES, "default", SERVICE, "another uid") is None
        assert [request.method for request in server.requests] == ["GET"]

    async def test_what_we_created_becomes_what_we_apply(self, api: Api, server: ApiServer) -> None:
        entries = [
            {"manager": "kube-controller-manager", "operation": "Update"},
            {"manager": "dask-k8s-controller", "operation": "Update"},
        ]
        live = {
            **SERVICE,
            "metadata": {"name": "s", "uid": "u", "resourceVersion": "7", "managedFields": entries},
        }
        server.answers = [gives(live)]
        await api.apply(SERVICES, "default", SERVICE, "u")
        assert server.bodies[1] == [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"},
            {"op": "replace", "path": "/metadata/managedFields/1/operation", "value": "Apply"},
        ]
        assert [request.method for request in server.requests] == ["GET", "PATCH", "PATCH"]


class TestPatching:
    async def test_a_status_is_patched_at_its_own_path(self, api: Api, server: ApiServer) -> None:
        server.answers = [gives(POD)]
        await api.patch(CLUSTERS, "default", "c", {"status": {}}, "status")
        (request,) = server.requests
        path = "/apis/kubernetes.dask.org/v1/namespaces/default/daskclusters/c/status"
        assert (request.method, request.path) == ("PATCH", path)
        assert request.content_type == "application/merge-patch+json"

    async def test_an_object_that_changed_meanwhile_is_a_conflict(self, api: Api, server: ApiServer) -> None:
        server.answers = [refusal(409, "Conflict", "the object has been modified")]
        with pytest.raises(Conflict):
            await api.patch(PODS, "default", "p", {})
        assert len(server.requests) == 1

    async def test_an_object_of_another_uid_is_a_conflict(self, api: Api, server: ApiServer) -> None:
        causes = [{"field": "metadata.uid", "reason": "FieldValueInvalid"}]
        server.answers = [refusal(422, "Invalid", "field is immutable", causes=causes)]
        with pytest.raises(Conflict):
            await api.patch(PODS, "default", "p", {})

    async def test_a_refusal_that_mentions_a_uid_is_a_refusal(self, api: Api, server: ApiServer) -> None:
        field = "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath"
        typo = f'{field}: Invalid value: "metadata.uids"'
        server.answers = [refusal(422, "Invalid", typo, causes=[{"field": field}])]
        with pytest.raises(Refused, match=r'"metadata\.uids"'):
            await api.create(PODS, "default", POD)


class TestDeleting:
    async def test_names_the_uid(self, api: Api, server: ApiServer) -> None:
        server.answers = [gives({**POD, "metadata": {**POD["metadata"], "deletionTimestamp": "now"}})]  # type: ignore[dict-item]
        left = await api.delete(PODS, "default", "p", "u")
        assert left is not None
        (body,) = server.bodies
        assert body["preconditions"] == {"uid": "u"}
        assert body["propagationPolicy"] == "Background"

    async def test_what_is_gone_is_success(self, api: Api, server: ApiServer) -> None:
        server.answers = [refusal(404, "NotFound")]
        assert await api.delete(PODS, "default", "p", "u") is None

    async def test_another_object_of_the_name_is_left_alone(self, api: Api, server: ApiServer) -> None:
        another = {**POD, "metadata": {"name": "p", "uid": "another"}}
        server.answers = [refusal(409, "Conflict", "Precondition failed: UID"), gives(another)]
        assert await api.delete(PODS, "default", "p", "u") is None

    async def test_a_conflict_about_the_very_object_is_none_of_these(
        self, api: Api, server: ApiServer
    ) -> None:
        server.answers = [refusal(409, "Conflict", "try again"), gives(POD)]
        with pytest.raises(Conflict):
            await api.delete(PODS, "default", "p", "u")


class TestReading:
    async def test_what_is_not_there_is_none(self, api: Api, server: ApiServer) -> None:
        server.answers = [refusal(404, "NotFound")]
        assert await api.get(PODS, "default", "p") is None


class TestTrouble:
    @pytest.mark.parametrize(
        "answer",
        [
            refusal(429),
            refusal(500),
            refusal(503),
            breaks_the_connection,
            never_answers,
            says(200, "<html>of a proxy</html>"),
            gives(["no", "object"]),
        ],
    )
    async def test_a_request_is_repeated(self, api: Api, server: ApiServer, answer: Handler) -> None:
        server.answers = [answer, answer, gives(POD)]
        assert await api.get(PODS, "default", "p") == POD
        assert len(server.requests) == 3

    @pytest.mark.parametrize("answer", [refusal(429), refusal(500), breaks_the_connection, never_answers])
    async def test_a_request_is_not_repeated_for_ever(
        self, api: Api, server: ApiServer, answer: Handler
    ) -> None:
        server.answers = [answer]
        with pytest.raises(Unavailable):
            await api.create(PODS, "default", POD)
        assert len(server.requests) == 3

    async def test_the_api_servers_wish_to_wait_is_heeded_within_bounds(
        self, api: Api, server: ApiServer
    ) -> None:
        server.answers = [refusal(429, headers={"Retry-After": "3600"}), gives(POD)]
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await api.get(PODS, "default", "p")
        assert 0.05 <= loop.time() - begun < 1

    async def test_credentials_that_expired_are_read_anew(self, api: Api, server: ApiServer) -> None:
        server.answers = [refusal(401, "Unauthorized"), gives(POD)]
        assert await api.get(PODS, "default", "p") == POD
        assert server.logins == 2

    async def test_credentials_that_expire_under_load_cost_nobody_an_answer(
        self, api: Api, server: ApiServer
    ) -> None:
        async def answer(request: web.Request) -> web.StreamResponse:
            if request.headers["Authorization"] != "Bearer 0":
                return web.json_response(POD)
            if request.path.endswith("/p0"):  # It was let in before they expired.
                await server.until_asked(7)
                return web.json_response(POD)
            return web.json_response({"kind": "Status", "code": 401}, status=401)

        server.answers = [answer]
        async with asyncio.timeout(10):
            found = await asyncio.gather(*(api.get(PODS, "default", f"p{number}") for number in range(8)))
        assert found == [POD] * 8
        assert [request.path[-2:] for request in server.requests].count("p0") == 1
        assert [session.closed for session in server.sessions] == [True, False]

    async def test_an_answer_that_is_no_status_is_an_error_all_the_same(
        self, api: Api, server: ApiServer
    ) -> None:
        server.answers = [gives(["no", "status"], 400)]
        with pytest.raises(Refused, match="HTTP 400"):
            await api.get(PODS, "default", "p")


async def test_a_burst_waits_for_nobody_but_its_bound(api: Api, server: ApiServer) -> None:
    async def slowly(_: web.Request) -> web.Response:
        await asyncio.sleep(0.01)
        return web.json_response(POD)

    server.answers = [slowly]
    await asyncio.gather(*(api.get(PODS, "default", "p") for _ in range(20)))
    assert server.most_at_once == 3


async def test_a_burst_of_one_namespace_does_not_hold_up_another(api: Api, server: ApiServer) -> None:
    hold = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        if "/namespaces/many/" in request.path:
            await hold.wait()
        return web.json_response(POD)

    server.answers = [answer]
    api = Api(api.login, limits=Limits(concurrency=12))
    burst = [asyncio.create_task(api.get(PODS, "many", "p")) for _ in range(100)]
    async with asyncio.timeout(5):
        assert await api.get(PODS, "one", "p") == POD
    hold.set()
    await asyncio.gather(*burst)
    await api.close()


async def test_credentials_that_stay_refused_are_tried_ever_more_slowly(
    api: Api, server: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(
        "dask_k8s_controller.kubernetes.connection.time", SimpleNamespace(monotonic=lambda: now)
    )
    server.answers = [refusal(401)]
    sent = []
    for _ in range(120):
        with pytest.raises(Unavailable):
            await api.get(PODS, "default", "p")
        sent.append(len(server.requests))
        now += 1.0
    assert sent[0] == 2, "the first time they may have expired"
    assert sent[-1] < 12
    server.answers = [gives(POD)]
    now += 30
    assert await api.get(PODS, "default", "p") == POD


class TestRights:
    async def test_are_asked_for_and_so_is_what_there_is(self, api: Api, server: ApiServer) -> None:
        def review(*, allowed: bool) -> Handler:
            return gives({"status": {"allowed": allowed}}, 201)

        kinds = gives({"resources": [{"name": one.plural} for one in WATCHED]})
        server.answers = [review(allowed=True), review(allowed=False), kinds]
        assert await discover(api) == (False, WATCHED)
        assert [request.path for request in server.requests] == [
            *2 * ["/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"],
            "/apis/kubernetes.dask.org/v1",
        ]
        assert server.bodies[0]["spec"]["resourceAttributes"] == {
            "verb": "list",
            "group": "",
            "resource": "namespaces",
        }

    @pytest.mark.parametrize("answer", [refusal(404, "NotFound"), gives({"resources": []})])
    async def test_without_our_kinds_nobody_would_tell_when_they_come(
        self, api: Api, server: ApiServer, answer: Handler
    ) -> None:
        server.answers = [*2 * [gives({"status": {"allowed": False}}, 201)], answer]
        with pytest.raises(KindsMissing, match="daskclusters"):
            await discover(api)

    async def test_are_taken_for_granted_while_the_api_server_fails(
        self, api: Api, server: ApiServer
    ) -> None:
        server.answers = [refusal(503)]
        assert await discover(api) == (True, WATCHED)
