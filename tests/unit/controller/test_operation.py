"""Settings, health, metrics, lists that are repeated, plugins, the command line."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import dask.config
import kopf
import pytest

from dask_k8s_controller import __main__
from dask_k8s_controller.kubernetes.resources import (
    AUTOSCALERS,
    CLUSTERS,
    GROUPS,
    JOBS,
    PODS,
    SERVICES,
    Key,
)
from dask_k8s_controller.operator import Operator
from dask_k8s_controller.runtime.clock import RealClock
from dask_k8s_controller.runtime.metrics import LoopLag, Metrics
from dask_k8s_controller.settings import InvalidSetting, Settings, TLSMode, settings_of
from dask_k8s_controller.watching import plugins
from dask_k8s_controller.watching.handlers import register_handlers


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
            ("tls", "Sometimes"),
            ("certificate-lifetime", 0),
            ("leader-election.renewal", 0.0),
            ("leader-election.renewal", 10.0),
        ],
    )
    def test_that_are_wrong_are_named(self, key: str, value: Any) -> None:
        with (
            dask.config.set({f"kubernetes.controller.{key}": value}),
            pytest.raises(InvalidSetting, match=f"kubernetes.controller.{key} is {value!r}: "),
        ):
            Settings.from_config()

    def test_that_do_not_fit_each_other_are_named_both(self) -> None:
        told = r"leader-election\.renewal is 5\.0: .* two thirds of leader-election\.duration, which is 6$"
        with (
            dask.config.set({"kubernetes.controller.leader-election.duration": 6}),
            pytest.raises(InvalidSetting, match=told),
        ):
            Settings.from_config()

    @pytest.mark.parametrize(
        ("written", "mode"),
        [("Default", TLSMode.DEFAULT), ("required", TLSMode.REQUIRED), (False, TLSMode.OFF)],
    )
    def test_say_by_a_word_who_speaks_tls(self, written: Any, mode: TLSMode) -> None:
        with dask.config.set({"kubernetes.controller.tls": written}):
            assert Settings.from_config().policy.tls is mode

    def test_are_all_documented(self) -> None:
        documented = Path("docs/controller.md").read_text()
        missing = [key for _, key, _ in settings_of(Settings) if f"`{key}`" not in documented]
        assert not missing

    def test_are_keyed_once_each(self) -> None:
        keys = [key for _, key, _ in settings_of(Settings)]
        assert len(keys) == len(set(keys))


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

    def test_the_documented_example_watches_services(self, registry: kopf.OperatorRegistry) -> None:
        decorate = kopf.on.create("service", labels={"dask.org/component": "scheduler"}, registry=registry)
        decorate(self.handle)
        assert plugins.watched_by_others(registry) == {SERVICES}

    def test_a_plugin_that_watches_pods_sees_all_of_them(self, registry: kopf.OperatorRegistry) -> None:
        kopf.on.event("v1", "pods", registry=registry)(self.handle)
        assert plugins.watched_by_others(registry) == {PODS}

    @pytest.mark.parametrize("name", ["daskcluster", "dsk", "DaskCluster", "daskclusters"])
    def test_a_plugin_may_name_a_kind_of_ours_by_any_of_its_names(
        self, registry: kopf.OperatorRegistry, name: str
    ) -> None:
        kopf.on.create(name, registry=registry)(self.handle)
        assert plugins.watched_by_others(registry) == {CLUSTERS}

    def test_a_plugin_may_name_all_kinds_of_ours_by_their_category(
        self, registry: kopf.OperatorRegistry
    ) -> None:
        kopf.on.event(category="dask", registry=registry)(self.handle)
        assert plugins.watched_by_others(registry) == {CLUSTERS, GROUPS, JOBS, AUTOSCALERS}

    def test_are_found_by_their_entry_point(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from importlib.metadata import EntryPoint, EntryPoints

        monkeypatch.setitem(sys.modules, "a_plugin", ModuleType("a_plugin"))
        found = EntryPoints([EntryPoint("mine", "a_plugin", plugins.ENTRY_POINT_GROUP)])
        monkeypatch.setattr(plugins, "entry_points", lambda group: found.select(group=group))
        assert plugins.load_plugins() == ["mine"]


class TestCommandLine:
    @pytest.fixture
    def runs(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
        seen: list[dict[str, Any]] = []
        monkeypatch.setattr(kopf.cli.run, "callback", lambda **flags: seen.append(flags))
        monkeypatch.setattr(sys, "exit", lambda code: None)
        with dask.config.set({"kubernetes.controller": {}}):
            yield seen

    def test_watches_all_namespaces_by_default(self, runs: list[dict[str, Any]]) -> None:
        __main__.main([])
        [flags] = runs
        assert (flags["clusterwide"], flags["namespaces"]) == (True, ())
        assert flags["modules"] == ("dask_k8s_controller",)

    @pytest.mark.parametrize(
        ("flags", "is_clusterwide", "namespaces"),
        [
            (["--namespace=a"], False, ("a",)),
            (["-n", "a", "-n", "b"], False, ("a", "b")),
            (["-A"], True, ()),
        ],
    )
    def test_takes_kopfs_flags(
        self, runs: list[dict[str, Any]], flags: list[str], is_clusterwide: bool, namespaces: tuple[str, ...]
    ) -> None:
        __main__.main([*flags, "--standalone"])
        [taken] = runs
        assert (taken["clusterwide"], taken["namespaces"]) == (is_clusterwide, namespaces)
        assert taken["standalone"]

    @pytest.mark.parametrize("variable", ["KOPF_RUN_NAMESPACE", "KOPF_RUN_NAMESPACES"])
    def test_takes_kopfs_variables(
        self, runs: list[dict[str, Any]], variable: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(variable, "a")
        __main__.main([])
        [flags] = runs
        assert not flags["clusterwide"]

    @pytest.mark.parametrize(
        "flag", ["--liveness=http://0.0.0.0:9090/healthz", "-Lhttp://0.0.0.0:9090/healthz"]
    )
    def test_serves_liveness_itself(self, runs: list[dict[str, Any]], flag: str) -> None:
        __main__.main([flag])
        settings = Settings.from_config()
        [flags] = runs
        assert flags["liveness_endpoint"] is None
        assert (settings.health_host, settings.health_port) == ("0.0.0.0", 9090)
