"""Speaking with schedulers: friendly ones, old ones, hostile ones."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from dask_k8s_controller.cluster.observe import endpoint
from dask_k8s_controller.kubernetes.api import Api
from dask_k8s_controller.kubernetes.connection import Connection, connect
from dask_k8s_controller.kubernetes.errors import BadAnswer, NoSuchRoute, SchedulerError, Unreachable
from dask_k8s_controller.kubernetes.resources import PODS
from dask_k8s_controller.scheduler.answers import Demand, Worker
from dask_k8s_controller.scheduler.client import SchedulerClient
from dask_k8s_controller.scheduler.endpoint import Endpoint
from dask_k8s_controller.scheduler.parsing import parse_idle_for, parse_workers
from dask_k8s_controller.settings import Patience
from dask_k8s_credentials import Credentials
from tests.harness.stand_in import StandIn, says
from tests.unit.controller.builders import cluster, pod_spec, scheduler_pod

PRELOADED = ("/dask-k8s/",)

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


@pytest.fixture
async def scheduler() -> AsyncIterator[StandIn]:
    """A scheduler, behind the API server's proxy."""
    async with StandIn(IDENTITY) as scheduler:
        scheduler.missing = PRELOADED
        yield scheduler


@asynccontextmanager
async def client_of(scheduler: StandIn, seconds: float) -> AsyncIterator[SchedulerClient]:
    async def log_in() -> Connection:
        return Connection(scheduler.url, aiohttp.ClientSession(), False, "default")

    api = Api(log_in)
    client = SchedulerClient(api, Patience(answer=seconds, retire=seconds))
    yield client
    await client.close()
    await api.close()


@pytest.fixture
async def client(scheduler: StandIn) -> AsyncIterator[SchedulerClient]:
    async with client_of(scheduler, seconds=0.3) as client:
        yield client


ENDPOINT = endpoint(cluster(), scheduler_pod(ip="10.0.0.5"), workers=2)


class TestAFriendlyScheduler:
    async def test_tells_its_workers(self, client: SchedulerClient, scheduler: StandIn) -> None:
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
            "/api/v1/namespaces/default/pods/c-scheduler:8787/proxy/json/identity.json"
        )

    async def test_retires_workers_by_address(self, client: SchedulerClient, scheduler: StandIn) -> None:
        scheduler.answers = [says(200, '{"tcp://10.0.0.1:4000": {}}')]
        assert await client.retire(ENDPOINT, ["tcp://b:1", "tcp://10.0.0.1:4000"]) == {"tcp://10.0.0.1:4000"}
        assert scheduler.requests[0].method == "POST"
        assert scheduler.bodies == [{"workers": ["tcp://10.0.0.1:4000", "tcp://b:1"]}]

    async def test_tells_since_when_it_is_idle(self, client: SchedulerClient, scheduler: StandIn) -> None:
        scheduler.answers = [says(200, f'{{"idle_since": {time.time() - 100}}}')]
        assert await client.idle_for(ENDPOINT) == pytest.approx(100, abs=2)

    async def test_tells_that_it_is_busy(self, client: SchedulerClient, scheduler: StandIn) -> None:
        scheduler.answers = [says(200, '{"idle_since": null}')]
        assert await client.idle_for(ENDPOINT) is None

    async def test_tells_how_many_workers_it_could_use(
        self, client: SchedulerClient, scheduler: StandIn
    ) -> None:
        scheduler.answers = [says(200, '{"workers": 7}')]
        assert await client.demand(ENDPOINT) == Demand(7)


class TestASchedulerWithThePreload:
    async def test_tells_what_its_workers_do_right_now(
        self, client: SchedulerClient, scheduler: StandIn
    ) -> None:
        scheduler.missing = ()
        scheduler.answers = [
            says(
                200,
                '{"workers": {"tcp://10.0.0.1:4000": {"name": "w", "status": "paused", "processing": 2, '
                '"keys": 3, "nbytes": 4, "draining": true}}}',
            )
        ]
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
        self, client: SchedulerClient, scheduler: StandIn
    ) -> None:
        scheduler.missing = ()
        scheduler.answers = [says(200, '{"tcp://a:1": 0, "tcp://b:1": 2}')]
        assert await client.drain(ENDPOINT, ["tcp://b:1", "tcp://a:1"]) == {"tcp://a:1": 0, "tcp://b:1": 2}
        assert scheduler.bodies == [{"workers": ["tcp://a:1", "tcp://b:1"]}]

    async def test_resumes_workers(self, client: SchedulerClient, scheduler: StandIn) -> None:
        scheduler.missing = ()
        scheduler.answers = [says(200, "{}")]
        await client.resume(ENDPOINT, ["tcp://a:1"])
        assert scheduler.requests[0].path.endswith("/proxy/dask-k8s/v1/resume")

    async def test_is_not_asked_again_for_routes_that_it_lacks(
        self, client: SchedulerClient, scheduler: StandIn
    ) -> None:
        await client.workers(ENDPOINT)
        scheduler.missing = ()
        await client.workers(ENDPOINT)
        assert not [request for request in scheduler.requests if "dask-k8s" in request.path]


class TestAnOldScheduler:
    @pytest.mark.parametrize("status", [404, 405])
    async def test_lacks_the_route(self, client: SchedulerClient, scheduler: StandIn, status: int) -> None:
        scheduler.answers = [says(status, "<html>not here</html>")]
        with pytest.raises(NoSuchRoute, match=r"distributed\.http\.scheduler\.api"):
            await client.retire(ENDPOINT, [])

    def test_counts_its_tasks_in_other_places(self) -> None:
        metrics = {"executing": 2, "in_memory": 3, "managed_bytes": 4}
        (worker,) = parse_workers({"workers": {"tcp://h:1": {"name": 0, "metrics": metrics}}})
        assert (worker.executing, worker.keys, worker.nbytes, worker.name) == (2, 3, 4, "")


class TestAnAbsentScheduler:
    @pytest.mark.parametrize(
        ("status", "told"),
        [(404, "pod"), (500, "pod"), (502, "pod"), (503, "pod"), (403, "grant it pods/proxy")],
    )
    async def test_that_the_api_server_does_not_reach_tells_nothing_of_the_network(
        self, client: SchedulerClient, scheduler: StandIn, status: int, told: str
    ) -> None:
        secret = "dial tcp 10.9.9.9:5432: connect: connection refused"
        scheduler.answers = [says(status, json.dumps({"kind": "Status", "message": secret}))]
        with pytest.raises(Unreachable, match=told) as caught:
            await client.workers(ENDPOINT)
        assert "10.9.9.9" not in str(caught.value)
        assert "refused" not in str(caught.value)

    async def test_whose_port_is_closed_tells_nothing_of_the_network(self, free_port: int) -> None:
        async def log_in() -> Connection:
            return Connection(f"http://127.0.0.1:{free_port}", aiohttp.ClientSession(), False, "default")

        api = Api(log_in)
        with pytest.raises(Unreachable) as caught:
            await SchedulerClient(api).workers(ENDPOINT)
        await api.close()
        assert str(caught.value) == "the scheduler c-scheduler can't be reached"

    async def test_that_never_answers(self, client: SchedulerClient, scheduler: StandIn) -> None:
        async def never(_: web.Request) -> web.StreamResponse:
            await asyncio.Event().wait()
            raise AssertionError

        scheduler.answers = [never]
        with pytest.raises(Unreachable, match="in time"):
            await client.workers(ENDPOINT)

    async def test_that_drops_the_connection(self, client: SchedulerClient, scheduler: StandIn) -> None:
        async def drop(request: web.Request) -> web.StreamResponse:
            assert request.transport is not None
            request.transport.close()
            return web.Response()

        scheduler.answers = [drop]
        with pytest.raises(Unreachable):
            await client.workers(ENDPOINT)


class TestAHostileScheduler:
    async def test_that_answers_too_much(self, client: SchedulerClient, scheduler: StandIn) -> None:
        scheduler.answers = [says(200, " " * 2_000_000)]
        with pytest.raises(BadAnswer, match="more than"):
            await client.workers(ENDPOINT)

    async def test_that_answers_without_end(self, client: SchedulerClient, scheduler: StandIn) -> None:
        async def endless(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            while True:
                await response.write(b" ")
                await asyncio.sleep(0.01)

        scheduler.answers = [endless]
        with pytest.raises(Unreachable, match="in time"):
            await client.workers(ENDPOINT)

    async def test_that_redirects(self, client: SchedulerClient, scheduler: StandIn) -> None:
        scheduler.answers = [says(302, "", Location="/elsewhere")]
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
        self, client: SchedulerClient, scheduler: StandIn, text: str
    ) -> None:
        scheduler.answers = [says(200, text)]
        with pytest.raises(BadAnswer):
            await client.workers(ENDPOINT)

    @pytest.mark.parametrize(
        "since", ["now", [], 1e300, -1e300, True, float("nan"), float("inf"), -1, 253402300000, 10**4000]
    )
    def test_that_has_been_idle_since_an_impossible_time(self, since: Any) -> None:
        with pytest.raises(BadAnswer):
            parse_idle_for({"idle_since": since}, time.time())

    def test_whose_workers_have_impossible_addresses(self) -> None:
        (worker,) = parse_workers({"workers": {"tcp://[::1": {"name": ["x"]}}})
        assert worker.host == ""


class TestManySchedulers:
    """Those of one namespace hold up each other, and nobody else."""

    @pytest.fixture
    async def client(self, scheduler: StandIn) -> AsyncIterator[SchedulerClient]:
        async with client_of(scheduler, seconds=30) as client:
            yield client

    def endpoint(self, namespace: str) -> Endpoint:
        return replace(ENDPOINT, namespace=namespace)

    async def test_that_are_slow_do_not_hold_up_another_namespace(
        self, client: SchedulerClient, scheduler: StandIn
    ) -> None:
        slow = asyncio.Event()

        async def answer(request: web.Request) -> web.Response:
            if "/namespaces/slow/" in request.path:
                await slow.wait()
            return web.json_response({"workers": {}})

        scheduler.answers = [answer]
        asking = [asyncio.create_task(client.workers(self.endpoint("slow"))) for _ in range(200)]
        await scheduler.until_asked(16)
        assert await client.workers(self.endpoint("other")) == ()
        assert len(scheduler.requests) == 16 + 1
        slow.set()
        await asyncio.gather(*asking)

    async def test_that_take_long_to_retire_workers_can_be_asked_all_the_same(
        self, client: SchedulerClient, scheduler: StandIn
    ) -> None:
        async def answer(request: web.Request) -> web.Response:
            if request.method == "POST":
                await asyncio.Event().wait()
            return web.json_response({})

        scheduler.answers = [answer]
        retiring = [asyncio.create_task(client.retire(ENDPOINT, [f"tcp://w:{n}"])) for n in range(16)]
        await scheduler.until_asked(16)
        assert await client.idle_for(ENDPOINT) is None
        assert not any(one.done() for one in retiring)
        for one in retiring:
            one.cancel()
        await asyncio.gather(*retiring, return_exceptions=True)


class TestWhereItAnswers:
    @pytest.mark.parametrize(
        "service",
        [{"type": "ExternalName", "externalName": "10.9.9.9"}, {"selector": {"app": "other"}}, None],
    )
    def test_at_its_pod_whatever_the_service_points_to(self, service: dict[str, Any] | None) -> None:
        of = cluster(scheduler={"service": service} if service else {})
        found = endpoint(of, scheduler_pod(ip="10.0.0.5"), workers=0)
        assert found.direct_url == "http://10.0.0.5:8787"
        assert found.proxy_path == "/api/v1/namespaces/default/pods/c-scheduler:8787/proxy"

    def test_at_the_port_and_under_the_prefix_that_its_pod_says(self) -> None:
        spec = pod_spec("scheduler", "dask", "scheduler", "--dashboard-prefix", "/user/me")
        spec["containers"][0]["ports"] = [{"name": "http-dashboard", "containerPort": 9787}]
        found = endpoint(cluster(scheduler={"spec": spec}), scheduler_pod(ip="fd00::1"), workers=0)
        assert found.direct_url == "http://[fd00::1]:9787/user/me"
        assert found.proxy_path == "/api/v1/namespaces/default/pods/c-scheduler:9787/proxy/user/me"

    @pytest.mark.parametrize(
        ("prefix", "path"),
        [
            ("../../../../secrets", ""),
            ("a/./b", ""),
            ("%2e%2e/x", "/%252e%252e/x"),
            ("x?y#z", "/x%3Fy%23z"),
        ],
    )
    async def test_under_no_prefix_that_leads_elsewhere(
        self, client: SchedulerClient, scheduler: StandIn, prefix: str, path: str
    ) -> None:
        spec = pod_spec("scheduler", "dask", "scheduler", f"--dashboard-prefix={prefix}")
        found = endpoint(cluster(scheduler={"spec": spec}), scheduler_pod(ip="10.0.0.5"), workers=0)
        await client.workers(found)
        proxy = "/api/v1/namespaces/default/pods/c-scheduler:8787/proxy"
        assert scheduler.requests[-1].raw_path == f"{proxy}{path}/json/identity.json"


async def test_it_is_heard_out_though_the_controllers_credentials_expire_meanwhile(
    scheduler: StandIn,
) -> None:
    async def answer(request: web.Request) -> web.Response:
        if "/proxy/" in request.path:
            await scheduler.until_asked(3)
            return web.json_response(IDENTITY)
        return web.json_response({}, status=401 if len(scheduler.requests) == 2 else 200)

    scheduler.answers = [answer]
    async with client_of(scheduler, seconds=10) as client:
        asking = asyncio.create_task(client.workers(ENDPOINT))
        await scheduler.until_asked(1)
        await client.api.get(PODS, "default", "p")
        assert len(await asking) == 1


async def test_within_the_cluster_it_has_an_address_before_it_is_asked() -> None:
    async def log_in() -> Connection:
        return Connection("https://kubernetes.default.svc", aiohttp.ClientSession(), True, "default")

    api = Api(log_in)
    with pytest.raises(Unreachable, match="has no address yet"):
        await SchedulerClient(api).workers(replace(ENDPOINT, ip=""))
    await api.close()


async def test_its_cookies_are_sent_to_nobody(scheduler: StandIn) -> None:
    # Addresses without a name have no cookies.
    credentials = Credentials(scheduler.url.replace("127.0.0.1", "localhost"))

    async def log_in() -> Connection:
        return connect(credentials)

    scheduler.answers = [says(200, '{"workers": {}}', **{"Set-Cookie": "theirs=1; Path=/"})]
    api = Api(log_in)
    client = SchedulerClient(api)
    try:
        for _ in range(2):
            await client.workers(ENDPOINT)
        assert all("Cookie" not in request.headers for request in scheduler.requests)
    finally:
        await client.close()
        await api.close()


async def test_within_the_cluster_it_never_sees_the_controllers_credentials(
    scheduler: StandIn, monkeypatch: pytest.MonkeyPatch
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
