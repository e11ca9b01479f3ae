"""Alerts and dashboards with a real Prometheus: ``make prometheus`` has it without an installation."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from distributed import Client

from dask_k8s_local import LocalKubernetes
from dask_k8s_models.definitions import custom_resource_definitions
from tests.conformance.waiting import eventually
from tests.conftest import is_local
from tests.e2e.conftest import DASK_CLUSTERS, is_running, pods_of
from tests.e2e.test_operation import free_port
from tests.harness.controller import ControllerProcess
from tests.harness.kube import Kube, Object

PROJECT = Path(__file__).parents[2]
FILES = PROJECT / "chart" / "dask-kubernetes-operator" / "files"
ALERTS = FILES / "alerts.yaml"
DASHBOARDS = sorted((FILES / "dashboards").glob("*.json"))
UNPACKED = PROJECT / ".prometheus" / "usr" / "bin"

PATIENCE = 90


def program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path=str(UNPACKED))
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


class Prometheus:
    """A Prometheus that scrapes what it is told to."""

    def __init__(self, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self.targets = folder / "targets.json"
        self.targets.write_text("[]")
        configuration = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(ALERTS)],
            "scrape_configs": [
                {
                    "job_name": "dask",
                    "file_sd_configs": [{"files": [str(self.targets)], "refresh_interval": "1s"}],
                }
            ],
        }
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration))
        self.process = subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={folder / 'prometheus.yaml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def scrape(self, *targets: tuple[str, dict[str, str]]) -> None:
        groups = [{"targets": [address], "labels": labels} for address, labels in targets]
        draft = self.targets.with_suffix(".draft")
        draft.write_text(json.dumps(groups))
        draft.rename(self.targets)

    def get(self, path: str, **params: str) -> Any:
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=params, timeout=10)
        assert answer.is_success, answer.text
        return answer.json()["data"]

    def query(self, expression: str) -> list[Object]:
        found: list[Object] = self.get("query", query=expression)["result"]
        return found


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Prometheus]:
    running = Prometheus(tmp_path)
    try:
        eventually(lambda: is_ready(running.url), timeout=PATIENCE)
        yield running
    finally:
        running.process.terminate()
        running.process.wait(30)


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", timeout=5).is_success
    except httpx.TransportError:
        return False


def queries(dashboard: Path) -> dict[str, str]:
    """The queries of a dashboard by their panel and legend, with all of its variables chosen."""
    found = {}
    for panel in json.loads(dashboard.read_text())["panels"]:
        for target in panel["targets"]:
            expression = target["expr"].replace("$__rate_interval", "30s")
            found[f"{panel['title']}: {target['legendFormat']}"] = re.sub(r"\$\w+", ".*", expression)
    return found


def test_no_panel_is_empty(
    pytestconfig: pytest.Config,
    prometheus: Prometheus,
    monkeypatch: pytest.MonkeyPatch,
    cluster_manifest: Callable[..., Object],
) -> None:
    """Prometheus scrapes the operator and a live cluster, which computes and is scaled down."""
    if not is_local(pytestconfig):
        pytest.skip("Prometheus runs beside the pods of a local Kubernetes")
    port = free_port()
    monkeypatch.setenv("DASK_KUBERNETES__CONTROLLER__HEALTH_PORT", str(port))
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
            (f"127.0.0.1:{port}", {"job": "operator"}),
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
