"""Speaking with schedulers: friendly ones, old ones, hostile ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from dask_k8s_controller.kubernetes.api import Api
from dask_k8s_controller.kubernetes.connection import Connection
from dask_k8s_controller.kubernetes.errors import BadAnswer, NoSuchRoute, SchedulerError, Unreachable
from dask_k8s_controller.scheduler.answers import Worker
from dask_k8s_controller.scheduler.client import (
    Endpoint,
    Patience,
    SchedulerClient,
    parse_idle_since,
    parse_workers,
)
from tests.unit.controller.builders import cluster, pod_spec, scheduler_pod

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

IDENTITY = {
    "type": "Scheduler",
    "workers": {
        "tcp://10.0.0.1:4000": {
            "name": "c-default-worker-0123456789",
            "status": "running",
            "metrics": {"task_counts": {"executing": 2, "long-running": 1, "memory": 5}, "managed_bytes": 99},
        }
    },
}


class Scheduler:
    """Answers what a test wants, behind the API server's proxy."""

    def __init__(self, server: TestServer) -> None:
        self.url = str(server.make_url("")).rstrip("/")
        self.answer: Answer = self._identity
        self.has_preload = False
        self.requests: list[web.Request] = []
        self.bodies: list[Any] = []

    async def _identity(self, _: web.Request) -> web.Response:
        return web.json_response(IDENTITY)


@pytest.fixture
async def scheduler() -> AsyncIterator[Scheduler]:
    application = web.Application()
    server = TestServer(application)

    async def handle(request: web.Request) -> web.StreamResponse:
        if "/dask-k8s/" in request.path and not fake.has_preload:
            raise web.HTTPNotFound
        fake.requests.append(request)
        fake.bodies.append(await request.json() if request.can_read_body else None)
        return await fake.answer(request)

    application.router.add_route("*", "/{path:.*}", handle)
    await server.start_server()
    fake = Scheduler(server)
    yield fake
    await server.close()


@pytest.fixture
async def client(scheduler: Scheduler) -> AsyncIterator[SchedulerClient]:
    async def log_in() -> Connection:
        return Connection(scheduler.url, aiohttp.ClientSession(), False, "default")

    api = Api(log_in)
    client = SchedulerClient(api, Patience(answer=0.3, retire=0.3))
    yield client
    await client.close()
    await api.close()


ENDPOINT = Endpoint.of(cluster(), scheduler_pod(ip="10.0.0.5"), workers=2)


def says(status: int, text: str, **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text=text, headers=headers)

    return answer


class TestAFriendlyScheduler:
    async def test_tells_its_workers(self, client: SchedulerClient, scheduler: Scheduler) -> None:
        assert await client.workers(ENDPOINT) == (
            Worker(
                address="tcp://10.0.0.1:4000",
                host="10.0.0.1",
                name="c-default-worker-0123456789",
                executing=3,
                keys=5,
                nbytes=99,
            ),
        )
        assert scheduler.requests[0].path == (
            "/api/v1/namespaces/default/services/c-scheduler:8787/proxy/json/identity.json"
        )

    async def test_retires_workers_by_address(self, client: SchedulerClient, scheduler: Scheduler) -> None:
        scheduler.answer = says(200, '{"tcp://10.0.0.1:4000": {}}')
        assert await client.retire(ENDPOINT, ["tcp://b:1", "tcp://10.0.0.1:4000"]) == {"tcp://10.0.0.1:4000"}
        assert scheduler.requests[0].method == "POST"
        assert scheduler.bodies == [{"workers": ["tcp://10.0.0.1:4000", "tcp://b:1"]}]

    async def test_tells_since_when_it_is_idle(self, client: SchedulerClient, scheduler: Scheduler) -> None:
        scheduler.answer = says(200, '{"idle_since": 1700000000.5}')
        idle_since = await client.idle_since(ENDPOINT)
        assert idle_since is not None
        assert idle_since.timestamp() == 1700000000.5

    async def test_tells_that_it_is_busy(self, client: SchedulerClient, scheduler: Scheduler) -> None:
        scheduler.answer = says(200, '{"idle_since": null}')
        assert await client.idle_since(ENDPOINT) is None

    async def test_tells_how_many_workers_it_could_use(
        self, client: SchedulerClient, scheduler: Scheduler
    ) -> None:
        scheduler.answer = says(200, '{"workers": 7}')
        assert await client.adaptive_target(ENDPOINT) == 7


class TestASchedulerWithThePreload:
    async def test_tells_what_its_workers_do_right_now(
        self, client: SchedulerClient, scheduler: Scheduler
    ) -> None:
        scheduler.has_preload = True
        scheduler.answer = says(
            200,
            '{"workers": {"tcp://10.0.0.1:4000": {"name": "w", "status": "paused", "processing": 2, '
            '"keys": 3, "nbytes": 4, "draining": true}}}',
        )
        assert await client.workers(ENDPOINT) == (
            Worker(
                address="tcp://10.0.0.1:4000",
                host="10.0.0.1",
                name="w",
                status="paused",
                executing=2,
                keys=3,
                nbytes=4,
                can_drain=True,
                is_draining=True,
            ),
        )
        assert scheduler.requests[0].path.endswith("/proxy/dask-k8s/v1/workers")

    async def test_drains_workers_and_tells_what_they_still_have(
        self, client: SchedulerClient, scheduler: Scheduler
    ) -> None:
        scheduler.has_preload = True
        scheduler.answer = says(200, '{"tcp://a:1": 0, "tcp://b:1": 2}')
        assert await client.drain(ENDPOINT, ["tcp://b:1", "tcp://a:1"]) == {"tcp://a:1": 0, "tcp://b:1": 2}
        assert scheduler.bodies == [{"workers": ["tcp://a:1", "tcp://b:1"]}]

    async def test_resumes_workers(self, client: SchedulerClient, scheduler: Scheduler) -> None:
        scheduler.has_preload = True
        scheduler.answer = says(200, "{}")
        await client.resume(ENDPOINT, ["tcp://a:1"])
        assert scheduler.requests[0].path.endswith("/proxy/dask-k8s/v1/resume")

    async def test_is_not_asked_again_for_routes_that_it_lacks(
        self, client: SchedulerClient, scheduler: Scheduler
    ) -> None:
        await client.workers(ENDPOINT)
        scheduler.has_preload = True
        await client.workers(ENDPOINT)
        assert not [request for request in scheduler.requests if "dask-k8s" in request.path]


class TestAnOldScheduler:
    @pytest.mark.parametrize("status", [404, 405])
    async def test_lacks_the_route(self, client: SchedulerClient, scheduler: Scheduler, status: int) -> None:
        scheduler.answer = says(status, "<html>not here</html>")
        with pytest.raises(NoSuchRoute, match=r"distributed\.http\.scheduler\.api"):
            await client.retire(ENDPOINT, [])

    def test_counts_its_tasks_in_other_places(self) -> None:
        metrics = {"executing": 2, "in_memory": 3, "managed_bytes": 4}
        (worker,) = parse_workers({"workers": {"tcp://h:1": {"name": 0, "metrics": metrics}}})
        assert (worker.executing, worker.keys, worker.nbytes, worker.name) == (2, 3, 4, "")


class TestAnAbsentScheduler:
    async def test_without_endpoints(self, client: SchedulerClient, scheduler: Scheduler) -> None:
        scheduler.answer = says(503, '{"kind": "Status", "message": "no endpoints available"}')
        with pytest.raises(Unreachable, match="no endpoints available"):
            await client.workers(ENDPOINT)

    async def test_without_a_service(self, client: SchedulerClient, scheduler: Scheduler) -> None:
        scheduler.answer = says(404, '{"kind": "Status", "message": "services not found"}')
        with pytest.raises(Unreachable, match="services not found"):
            await client.workers(ENDPOINT)

    async def test_that_never_answers(self, client: SchedulerClient, scheduler: Scheduler) -> None:
        async def never(_: web.Request) -> web.StreamResponse:
            await asyncio.Event().wait()
            raise AssertionError

        scheduler.answer = never
        with pytest.raises(Unreachable, match="in time"):
            await client.workers(ENDPOINT)

    async def test_that_drops_the_connection(self, client: SchedulerClient, scheduler: Scheduler) -> None:
        async def drop(request: web.Request) -> web.StreamResponse:
            assert request.transport is not None
            request.transport.close()
            return web.Response()

        scheduler.answer = drop
        with pytest.raises(Unreachable):
            await client.workers(ENDPOINT)


class TestAHostileScheduler:
    async def test_that_answers_too_much(self, client: SchedulerClient, scheduler: Scheduler) -> None:
        scheduler.answer = says(200, " " * 2_000_000)
        with pytest.raises(BadAnswer, match="more than"):
            await client.workers(ENDPOINT)

    async def test_that_answers_without_end(self, client: SchedulerClient, scheduler: Scheduler) -> None:
        async def endless(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            while True:
                await response.write(b" ")
                await asyncio.sleep(0.01)

        scheduler.answer = endless
        with pytest.raises(Unreachable, match="in time"):
            await client.workers(ENDPOINT)

    async def test_that_redirects(self, client: SchedulerClient, scheduler: Scheduler) -> None:
        scheduler.answer = says(302, "", Location="/elsewhere")
        with pytest.raises(BadAnswer, match="HTTP 302"):
            await client.workers(ENDPOINT)
        assert len(scheduler.requests) == 1

    @pytest.mark.parametrize(
        "text",
        [
            "not json",
            "[]",
            "null",
            "[" * 100_000,
            '{"workers": []}',
            '{"workers": {"a": 1}}',
            '{"workers": {"a": {"metrics": [1]}}}',
            '{"workers": {"a": {"metrics": {"managed_bytes": "many"}}}}',
            '{"workers": {"a": {"metrics": {"managed_bytes": NaN}}}}',
            '{"workers": {"a": {"metrics": {"managed_bytes": Infinity}}}}',
            '{"workers": {"a": {"metrics": {"managed_bytes": true}}}}',
            '{"workers": {"a": {"metrics": {"managed_bytes": ' + "9" * 5000 + "}}}}",
        ],
    )
    async def test_that_answers_nonsense(
        self, client: SchedulerClient, scheduler: Scheduler, text: str
    ) -> None:
        scheduler.answer = says(200, text)
        with pytest.raises(BadAnswer):
            await client.workers(ENDPOINT)

    @pytest.mark.parametrize("since", ["now", [], 1e300, -1e300, True, float("nan")])
    def test_that_has_been_idle_since_an_impossible_time(self, since: Any) -> None:
        with pytest.raises(BadAnswer):
            parse_idle_since({"idle_since": since})

    def test_whose_workers_have_impossible_addresses(self) -> None:
        (worker,) = parse_workers({"workers": {"tcp://[::1": {"name": ["x"]}}})
        assert worker.host == ""


class TestWhereItAnswers:
    def test_at_the_service(self) -> None:
        assert ENDPOINT.direct_url == "http://c-scheduler.default.svc:8787"

    def test_at_the_pod_if_the_service_offers_no_dashboard(self) -> None:
        spec = pod_spec("scheduler")
        spec["containers"][0]["ports"] = [{"name": "http-dashboard", "containerPort": 9787}]
        of = cluster(scheduler={"spec": spec, "service": {"ports": [{"port": 8786}]}})
        endpoint = Endpoint.of(of, scheduler_pod(ip="fd00::1"), workers=0)
        assert endpoint.direct_url == "http://[fd00::1]:9787"
        assert endpoint.proxy_path == "/api/v1/namespaces/default/pods/c-scheduler:9787/proxy"


async def test_within_the_cluster_it_never_sees_the_controllers_credentials(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def log_in() -> Connection:
        session = aiohttp.ClientSession(headers={"Authorization": "Bearer secret"})
        return Connection("https://kubernetes.default.svc", session, True, "default")

    monkeypatch.setattr(Endpoint, "direct_url", property(lambda _: scheduler.url))
    api = Api(log_in)
    client = SchedulerClient(api)
    try:
        assert await client.workers(ENDPOINT)
        assert "Authorization" not in scheduler.requests[0].headers
    finally:
        await client.close()
        await api.close()


def test_all_its_errors_are_of_one_family() -> None:
    assert issubclass(Unreachable, SchedulerError)
    assert issubclass(NoSuchRoute, SchedulerError)
    assert issubclass(BadAnswer, SchedulerError)
