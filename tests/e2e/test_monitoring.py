"""Alerts and dashboards with a real Prometheus: ``make prometheus`` has it without an installation."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from distributed import Client

from dask_k8s_local import LocalKubernetes
from dask_k8s_models.definitions import custom_resource_definitions
from tests.conformance.waiting import eventually
from tests.conftest import is_local
from tests.e2e.conftest import DASK_CLUSTERS, is_running, pods_of
from tests.harness.controller import ControllerProcess
from tests.harness.kube import Kube, Object
from tests.harness.ports import reserved_port
from tests.harness.prometheus import Prometheus, program_path, queries

PROJECT = Path(__file__).parents[2]
FILES = PROJECT / "chart" / "dask-kubernetes-operator" / "files"
ALERTS = FILES / "alerts.yaml"
DASHBOARDS = sorted((FILES / "dashboards").glob("*.json"))

PATIENCE = 90


def program(name: str) -> str:
    found = program_path(name)
    if found is None:
        message = f"there is no {name}: run make prometheus"
        assert not os.environ.get("CI"), message
        pytest.skip(message)
    return found


def alerts() -> list[Object]:
    found: list[Object] = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
    return found


def test_alerts_fire_when_they_should_and_only_then(tmp_path: Path) -> None:
    tests = Path(__file__).with_name("alerts_test.yaml")
    for file in (ALERTS, tests):
        shutil.copy(file, tmp_path)
    for command in (["check", "rules", ALERTS.name], ["test", "rules", tests.name]):
        done = subprocess.run(
            [program("promtool"), *command], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_is_tested_and_has_its_page() -> None:
    tested = Path(__file__).with_name("alerts_test.yaml").read_text()
    page = (PROJECT / "docs" / "monitoring.md").read_text()
    for rule in alerts():
        name = rule["alert"]
        assert f'alertname="{name}"' in tested, "it fires in a test"
        assert rule["annotations"]["runbook_url"].endswith(f"docs/monitoring.md#{name.lower()}")
        assert f"\n### {name}\n" in page


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Prometheus]:
    with reserved_port() as port:
        running = Prometheus(program("prometheus"), tmp_path, ALERTS, port)
        try:
            eventually(lambda: running.is_ready, timeout=PATIENCE)
            yield running
        finally:
            running.stop()


def test_no_panel_is_empty(
    pytestconfig: pytest.Config,
    prometheus: Prometheus,
    monkeypatch: pytest.MonkeyPatch,
    cluster_manifest: Callable[..., Object],
    free_port: int,
) -> None:
    """Prometheus scrapes the operator and a live cluster, which computes and is scaled down."""
    if not is_local(pytestconfig):
        pytest.skip("Prometheus runs beside the pods of a local Kubernetes")
    monkeypatch.setenv("DASK_KUBERNETES__CONTROLLER__HEALTH_PORT", str(free_port))
    with (
        LocalKubernetes(addons=()) as kubernetes,
        Kube.from_kubeconfig(kubernetes.kubeconfig) as kube,
        ControllerProcess(kubernetes.kubeconfig),
    ):
        kubernetes.apply(custom_resource_definitions())
        kube.create(cluster_manifest("watched", n_workers=2), "default")
        kube.wait(
            DASK_CLUSTERS,
            "watched",
            "default",
            until=lambda found: is_running(found) and found["status"].get("readyReplicas") == 2,
        )
        labels = {"namespace": "default", "dask_org_cluster_name": "watched"}
        scheduler, *_ = pods_of(kube, "watched", "default", "scheduler")
        workers = pods_of(kube, "watched", "default", "worker")
        address = scheduler["status"]["podIP"]
        prometheus.scrape(
            (f"127.0.0.1:{free_port}", {"job": "operator"}),
            (f"{address}:8787", {**labels, "job": "scheduler"}),
            *((f"{pod['status']['podIP']}:8788", {**labels, "job": "worker"}) for pod in workers),
        )
        with Client(f"tcp://{address}:8786") as client:
            client.wait_for_workers(2, timeout=PATIENCE)
            held = client.map(bytes, range(1000, 1040))
            client.gather(held)
            kube.patch(DASK_CLUSTERS, "watched", {"spec": {"worker": {"replicas": 1}}}, "default")
            wanted = {**queries(DASHBOARDS[0]), **queries(DASHBOARDS[1])}
            assert len(wanted) > 30

            def empty() -> dict[str, str]:
                return {name: query for name, query in wanted.items() if not prometheus.query(query)}

            eventually(empty, until=lambda found: not found, timeout=PATIENCE, every=1)
        (group,) = prometheus.get("rules")["groups"]
        assert {rule["health"] for rule in group["rules"]} == {"ok"}
        assert len(group["rules"]) == len(alerts())
