"""Settings, health, metrics, lists that are repeated, plugins, the command line."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import dask.config
import kopf
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from dask_k8s_controller import __main__
from dask_k8s_controller.kubernetes.resources import CLUSTERS, PODS, SERVICES, WATCHED, Key
from dask_k8s_controller.operator import Operator
from dask_k8s_controller.runtime.clock import RealClock
from dask_k8s_controller.runtime.health import HealthServer, PortTaken
from dask_k8s_controller.runtime.loop_lag import LoopLag
from dask_k8s_controller.runtime.metrics import Metrics
from dask_k8s_controller.runtime.queue import Requeue, WorkQueue
from dask_k8s_controller.settings import InvalidSetting, Settings, settings_of
from dask_k8s_controller.watching import plugins
from dask_k8s_controller.watching.handlers import register_handlers
from dask_k8s_controller.watching.relists import Listing, RelistMonitor
from tests.unit.controller.clocks import ManualClock


class TestSettings:
    def test_have_defaults(self) -> None:
        assert Settings.from_config() == Settings()

    def test_come_from_dasks_configuration(self) -> None:
        config = {
            "kubernetes.controller.worker-allocation.batch-size": 10,
            "kubernetes.controller.worker-allocation.delay": 2.5,
            "kubernetes.controller.events.enabled": False,
            "kubernetes.controller.health-port": "9090",
        }
        with dask.config.set(config):
            settings = Settings.from_config()
        assert (settings.policy.batch_size, settings.policy.batch_delay) == (10, 2.5)
        assert not settings.events.enabled
        assert settings.health_port == 9090

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("worker-allocation.batch-size", 0),
            ("worker-allocation.batch-size", "many"),
            ("events.enabled", "perhaps"),
            ("events.level", "LOUD"),
            ("api.timeout", -1),
        ],
    )
    def test_that_are_wrong_are_named(self, key: str, value: Any) -> None:
        with (
            dask.config.set({f"kubernetes.controller.{key}": value}),
            pytest.raises(InvalidSetting, match=f"kubernetes.controller.{key} is {value!r}: write "),
        ):
            Settings.from_config()

    def test_are_all_documented(self) -> None:
        documented = Path("docs/controller.md").read_text()
        missing = [key for key, _, _ in settings_of(Settings) if f"`{key}`" not in documented]
        assert not missing

    def test_are_keyed_once_each(self) -> None:
        keys = [key for key, _, _ in settings_of(Settings)]
        assert len(keys) == len(set(keys))


class TestImport:
    def test_of_the_package_registers_nothing_and_loads_no_plugin(self) -> None:
        script = "import sys, dask_k8s_controller; print(*sys.modules)"
        loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        packages = {module.partition(".")[0] for module in loaded.stdout.split()}
        assert not packages & {"kopf", "dask", "distributed", "aiohttp", "pydantic"}

    def test_by_kopf_run_registers_the_handlers(self) -> None:
        script = """
            import kopf.cli
            with kopf.cli.run.make_context("kopf run", ["-m", "dask_k8s_controller"]):
                import dask_k8s_controller
            print(len(kopf.get_default_registry()._watching.get_all_handlers()))
        """
        command = [sys.executable, "-c", textwrap.dedent(script)]
        registered = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert int(registered) == len(WATCHED)


async def nothing(_: Key) -> Requeue:
    return Requeue.on_change()


async def never(_: Listing) -> None:
    raise AssertionError


class TestHealth:
    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    def server(self, clock: ManualClock, **settings: Any) -> tuple[HealthServer, WorkQueue]:
        queue = WorkQueue(nothing, clock=clock, concurrency=0)
        chosen = Settings(**{"health_port": 0, **settings})
        return HealthServer(chosen, queue, Metrics(), RelistMonitor((), never)), queue

    async def get(self, server: HealthServer, path: str) -> tuple[int, str]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{server.port}{path}") as response,
        ):
            return response.status, await response.text()

    async def test_is_good_at_first(self, clock: ManualClock) -> None:
        server, _ = self.server(clock)
        await server.start(is_in_cluster=False)
        try:
            assert (await self.get(server, "/healthz"))[0] == 200
        finally:
            await server.stop()

    async def test_is_bad_when_objects_wait_for_ever(self, clock: ManualClock) -> None:
        server, queue = self.server(clock)
        await server.start(is_in_cluster=False)
        try:
            queue.start()
            queue.add(Key("DaskCluster", "default", "a"))
            clock.advance(121)
            status, text = await self.get(server, "/healthz")
            assert status == 503
            assert "waiting to be reconciled for 121 s" in text
        finally:
            await server.stop()

    async def test_is_good_while_another_replica_leads(self, clock: ManualClock) -> None:
        server, queue = self.server(clock)
        queue.add(Key("DaskCluster", "default", "a"))
        clock.advance(1000)
        assert server.problem() == ""

    async def test_is_bad_when_watches_have_failed_for_long(
        self, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(RelistMonitor, "failing_for", 601.0)
        server, _ = self.server(clock)
        assert server.problem() == "lists or watches have been failing for 601 s"

    async def test_a_port_that_was_asked_for_must_be_free(self, clock: ManualClock) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            server, _ = self.server(clock, health_port=taken.getsockname()[1])
            with pytest.raises(PortTaken, match="health-port"):
                await server.start(is_in_cluster=False)

    async def test_the_usual_port_may_be_taken(
        self, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            monkeypatch.setattr(
                "dask_k8s_controller.runtime.health.DEFAULT_HEALTH_PORT", taken.getsockname()[1]
            )
            server, _ = self.server(clock, health_port=None)
            await server.start(is_in_cluster=False)
            assert server.port is None

    async def test_the_port_that_kopf_takes_is_left_to_it(self, clock: ManualClock) -> None:
        server, _ = self.server(clock, health_port=None)
        await server.start(is_in_cluster=False, taken_port=8080)
        assert server.port is None

    async def test_metrics_are_beside_it(self, clock: ManualClock) -> None:
        server, _ = self.server(clock)
        await server.start(is_in_cluster=False)
        try:
            _, text = await self.get(server, "/metrics")
            assert "dask_controller_queue_depth 0.0" in text
        finally:
            await server.stop()


async def test_a_held_up_event_loop_is_noticed() -> None:
    seen: asyncio.Queue[float] = asyncio.Queue()
    lag = LoopLag(RealClock(), seen.put_nowait, interval=0.01)
    lag.start()
    time.sleep(0.2)  # noqa: ASYNC251 - this is what holds it up
    assert await seen.get() >= 0.15
    lag.stop()


def test_metrics_count_turns_and_requests() -> None:
    metrics = Metrics()
    metrics.reconcile_done(Key("DaskCluster", "default", "a"), 0.1, False)
    metrics.reconcile_done(Key("DaskCluster", "default", "a"), 0.1, True)
    metrics.request_done("create", "Pod", 201)
    text = metrics.exposition().decode()
    assert 'dask_controller_reconciles_total{kind="DaskCluster",result="error"} 1.0' in text
    assert 'dask_controller_api_requests_total{code="201",kind="Pod",verb="create"} 1.0' in text


class TestListsThatAreRepeated:
    @pytest.fixture
    async def listed(self) -> Any:
        """A session that reports to a monitor, and what was reported."""
        seen: list[Listing] = []

        async def note(listing: Listing) -> None:
            seen.append(listing)

        async def answer(request: web.Request) -> web.Response:
            return web.json_response({}, status=int(request.query.get("status", "200")))

        monitor = RelistMonitor((PODS, SERVICES, CLUSTERS), note)
        self.monitor = monitor
        application = web.Application()
        application.router.add_get("/{path:.*}", answer)
        server = TestServer(application)
        await server.start_server()
        async with aiohttp.ClientSession(trace_configs=[monitor.trace()]) as session:

            async def get(path: str) -> None:
                async with session.get(server.make_url(path)) as response:
                    await response.read()
                await asyncio.sleep(0)

            yield get, seen
        await monitor.stop()
        await server.close()

    async def test_the_first_list_is_nothing_new(self, listed: Any) -> None:
        get, seen = listed
        await get("/api/v1/pods?labelSelector=a")
        assert seen == []

    async def test_the_second_one_is_reported(self, listed: Any) -> None:
        get, seen = listed
        for _ in range(2):
            await get("/api/v1/pods?labelSelector=dask.org%2Fcluster-name")
        assert seen == [Listing(PODS, None, "dask.org/cluster-name")]

    async def test_namespaces_are_told_apart(self, listed: Any) -> None:
        get, seen = listed
        await get("/apis/kubernetes.dask.org/v1/namespaces/a/daskclusters")
        await get("/apis/kubernetes.dask.org/v1/namespaces/b/daskclusters")
        assert seen == []
        await get("/apis/kubernetes.dask.org/v1/namespaces/b/daskclusters")
        assert seen == [Listing(CLUSTERS, "b", "")]

    async def test_what_fails_is_known_until_it_works_again(self, listed: Any) -> None:
        get, _ = listed
        await get("/api/v1/pods?status=500&watch=true")
        assert self.monitor.failing_for > 0
        await get("/api/v1/services")
        assert self.monitor.failing_for > 0
        await get("/api/v1/pods?watch=true")
        assert self.monitor.failing_for == 0

    async def test_watches_and_other_resources_are_none_of_it(self, listed: Any) -> None:
        get, seen = listed
        for _ in range(2):
            await get("/api/v1/pods?watch=true")
            await get("/api/v1/nodes")
            await get("/apis/other/v1/daskclusters")
        assert seen == []


class TestPlugins:
    @pytest.fixture
    def registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        register_handlers(registry, lambda: Operator(Settings()))
        return registry

    async def handle(self, **_: Any) -> None:
        """Do something."""

    def test_nobody_else_watches_at_first(self, registry: kopf.OperatorRegistry) -> None:
        assert plugins.watched_by_others(registry) == frozenset()
        assert not plugins.keep_diffs(registry)

    def test_the_seeds_example_watches_services(self, registry: kopf.OperatorRegistry) -> None:
        decorate = kopf.on.create("service", labels={"dask.org/component": "scheduler"}, registry=registry)
        decorate(self.handle)
        assert plugins.watched_by_others(registry) == {SERVICES}
        assert plugins.keep_diffs(registry)

    def test_a_plugin_that_watches_pods_sees_all_of_them(self, registry: kopf.OperatorRegistry) -> None:
        kopf.on.event("v1", "pods", registry=registry)(self.handle)
        assert plugins.watched_by_others(registry) == {PODS}

    def test_are_found_by_their_entry_point(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from importlib.metadata import EntryPoint, EntryPoints

        monkeypatch.setitem(sys.modules, "a_plugin", ModuleType("a_plugin"))
        found = EntryPoints([EntryPoint("mine", "a_plugin", plugins.ENTRY_POINT_GROUP)])
        monkeypatch.setattr(plugins, "entry_points", lambda group: found.select(group=group))
        assert plugins.load_plugins() == ["mine"]


class TestCommandLine:
    @pytest.fixture
    def runs(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[str]]]:
        seen: list[list[str]] = []
        monkeypatch.setattr(kopf.cli.run, "main", lambda arguments, **_: seen.append(arguments))
        with dask.config.set({}):
            yield seen

    def test_watches_all_namespaces_by_default(self, runs: list[list[str]]) -> None:
        __main__.main([])
        assert runs == [["--module", "dask_k8s_controller", "--all-namespaces"]]

    @pytest.mark.parametrize("flags", [["--namespace=a"], ["-n", "a", "-n", "b"], ["-A"]])
    def test_takes_kopfs_flags(self, runs: list[list[str]], flags: list[str]) -> None:
        __main__.main([*flags, "--verbose"])
        assert runs == [["--module", "dask_k8s_controller", *flags, "--verbose"]]

    @pytest.mark.parametrize("variable", ["KOPF_RUN_NAMESPACE", "KOPF_RUN_NAMESPACES"])
    def test_takes_kopfs_variables(
        self, runs: list[list[str]], variable: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(variable, "a")
        __main__.main([])
        assert runs == [["--module", "dask_k8s_controller"]]

    @pytest.mark.parametrize(
        "flags",
        [["--liveness=http://0.0.0.0:9090/healthz"], ["-L", "http://0.0.0.0:9090/healthz", "-A"]],
    )
    def test_serves_liveness_itself(self, runs: list[list[str]], flags: list[str]) -> None:
        with dask.config.set({"kubernetes.controller": {}}):
            __main__.main(flags)
            settings = Settings.from_config()
        ((*_, last),) = runs
        assert last in ("--all-namespaces", "-A")
        assert not [flag for flag in runs[0] if "9090" in flag]
        assert (settings.health_host, settings.health_port) == ("0.0.0.0", 9090)
