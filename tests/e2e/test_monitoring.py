"""Alerts and dashboards with a real Prometheus: ``make prometheus`` has it without an installation."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from distributed import Client

from dask_k8s_local import LocalKubernetes
from dask_k8s_models.definitions import custom_resource_definitions
from dask_k8s_models.labels import CLUSTER_NAME
from tests.conformance.waiting import condition_is, eventually
from tests.conftest import is_local
from tests.e2e.conftest import DASK_CLUSTERS, is_running, pods_of
from tests.harness.controller import ControllerProcess
from tests.harness.kube import Kube, Object
from tests.harness.pages import blocks_of
from tests.harness.ports import reserved_port
from tests.harness.prometheus import Prometheus, Target, monitors, program_path, queries
from tests.unit.chart.golden import NAMESPACE

PROJECT = Path(__file__).parents[2]
FILES = PROJECT / "chart" / "dask-kubernetes-operator" / "files"
ALERTS = FILES / "alerts.yaml"
DASHBOARDS = sorted((FILES / "dashboards").glob("*.json"))

PATIENCE = 90

OTHERWISE = " or vector(0)"
"""What a query ends with whose series begin when something goes wrong."""


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
    promtool(tmp_path, "check", "rules", ALERTS.name)
    promtool(tmp_path, "test", "rules", tests.name)


def promtool(folder: Path, *command: str) -> None:
    done = subprocess.run(
        [program("promtool"), *command], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_documented_configuration_is_one(tmp_path: Path) -> None:
    (block,) = [one for one in blocks_of("docs/monitoring.md", "yaml") if "scrape_configs" in one.text]
    configuration = yaml.safe_load(block.text)
    (job,) = configuration["scrape_configs"]
    assert job["honor_labels"]
    assert job.pop("kubernetes_sd_configs") == [{"role": "pod"}], "which Debian's promtool was built without"
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    promtool(tmp_path, "check", "config", "prometheus.yml")


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


@pytest.fixture
def served(pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch, free_port: int) -> Iterator[Kube]:
    """A Kubernetes of the test's own, with an operator that has its metrics at ``free_port``."""
    if not is_local(pytestconfig):
        pytest.skip("Prometheus runs beside the pods of a local Kubernetes")
    monkeypatch.setenv("DASK_KUBERNETES__CONTROLLER__HEALTH_PORT", str(free_port))
    with (
        LocalKubernetes(addons=()) as kubernetes,
        Kube.from_kubeconfig(kubernetes.kubeconfig) as kube,
        ControllerProcess(kubernetes.kubeconfig),
    ):
        kubernetes.apply(custom_resource_definitions())
        yield kube


@pytest.fixture
def operator(free_port: int) -> Target:
    """The operator, with the labels that Prometheus' operator gives to what the chart's PodMonitor finds."""
    meta = monitors()["operator"]["metadata"]
    labels = {
        "job": f"{meta['namespace']}/{meta['name']}",
        "namespace": NAMESPACE,
        "pod": f"{meta['name']}-0",
        "container": "operator",
    }
    return Target("operator", f"127.0.0.1:{free_port}", labels)


def scheduler_of(pod: Object) -> Target:
    """A scheduler, with what Kubernetes' endpoints tell of its pod."""
    meta = pod["metadata"]
    told = {f"__meta_kubernetes_pod_annotationpresent_{as_label(key)}": "true" for key in meta["annotations"]}
    return Target("scheduler", f"{pod['status']['podIP']}:8787", {**of_cluster(meta), **told})


def worker_of(pod: Object) -> Target:
    return Target("worker", f"{pod['status']['podIP']}:8788", of_cluster(pod["metadata"]))


def of_cluster(meta: Object) -> dict[str, str]:
    return {"namespace": meta["namespace"], as_label(CLUSTER_NAME): meta["labels"][CLUSTER_NAME]}


def as_label(key: str) -> str:
    return re.sub(r"\W", "_", key)


def wait_for_workers(kube: Kube, name: str, namespace: str, count: int) -> None:
    kube.wait(
        DASK_CLUSTERS,
        name,
        namespace,
        until=lambda found: is_running(found) and found["status"].get("readyReplicas") == count,
    )


def test_no_panel_is_empty(
    served: Kube, operator: Target, prometheus: Prometheus, cluster_manifest: Callable[..., Object]
) -> None:
    """Prometheus scrapes the operator and a live cluster, which computes and is scaled down; all goes wrong.

    A quota refuses pods of one cluster, and the scheduler of the other keeps workers whose actors nobody can
    take over.
    """
    a_quota_lets_no_pods_in(served, "full")
    served.create(cluster_manifest("refused", n_workers=1), "full")
    served.create(cluster_manifest("watched", n_workers=2), "default")
    wait_for_workers(served, "watched", "default", 2)
    (scheduler,) = pods_of(served, "watched", "default", "scheduler")
    workers = pods_of(served, "watched", "default", "worker")
    prometheus.scrape(operator, scheduler_of(scheduler), *map(worker_of, workers))
    with Client(f"tcp://{scheduler['status']['podIP']}:8786") as client:
        client.wait_for_workers(2, timeout=PATIENCE)
        held = client.map(bytes, range(1000, 1040))
        client.gather(held)
        addresses = client.scheduler_info()["workers"]
        actors = [client.submit(list, actor=True, workers=[one], pure=False).result() for one in addresses]
        assert len(actors) == 2
        served.patch(DASK_CLUSTERS, "watched", {"spec": {"worker": {"replicas": 1}}}, "default")
        shown = {**queries(DASHBOARDS[0]), **queries(DASHBOARDS[1])}
        wanted = {name: query.removesuffix(OTHERWISE) for name, query in shown.items()}
        assert len(wanted) > 30
        assert len(set(wanted.values()) - set(shown.values())) == 3, (
            "what is empty as long as nothing is wrong"
        )

        def empty() -> dict[str, str]:
            return {name: query for name, query in wanted.items() if not prometheus.query(query)}

        eventually(empty, until=lambda found: not found, timeout=PATIENCE, every=1)
    (group,) = prometheus.get("rules")["groups"]
    assert {rule["health"] for rule in group["rules"]} == {"ok"}
    assert len(group["rules"]) == len(alerts())
    forbidden = prometheus.query("sum by (by) (dask_controller_api_requests_forbidden_total)")
    assert [one["metric"] for one in forbidden] == [{"by": "quota"}]


def test_schedulers_are_asked_by_what_they_serve(
    served: Kube, prometheus: Prometheus, cluster_manifest: Callable[..., Object]
) -> None:
    """HTTPS or HTTP, beside each other, whoever has signed the certificates."""
    served.create(cluster_manifest("plain", n_workers=0), "default")
    served.create(cluster_manifest("encrypted", n_workers=0, tls={"dashboard": True}), "default")
    names = {"plain", "encrypted"}
    for name in names:
        served.wait(DASK_CLUSTERS, name, "default", until=is_ready)
    prometheus.scrape(*(scheduler_of(pod) for name in names for pod in pods_of(served, name, "default")))

    def asked() -> dict[str, str]:
        found = prometheus.query("dask_scheduler_clients")
        return {one["metric"]["dask_org_cluster_name"]: one["value"][1] for one in found}

    eventually(asked, until=lambda found: found.keys() == names, timeout=PATIENCE, every=0.5)
    targets = prometheus.get("targets")["activeTargets"]
    assert sorted(one["scrapeUrl"].partition(":")[0] for one in targets) == ["http", "https"]


def is_ready(cluster: Object) -> bool:
    return condition_is(cluster, "Ready")


def a_quota_lets_no_pods_in(kube: Kube, namespace: str) -> None:
    kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}}
    kube.create({**quota, "spec": {"hard": {"pods": "0"}}}, namespace)


def test_workers_are_missing_in_the_namespace_that_lacks_them(
    served: Kube, operator: Target, prometheus: Prometheus, cluster_manifest: Callable[..., Object]
) -> None:
    """Whatever others have, and in whichever namespace the operator itself is.

    Of those that are held back none is missing, whether by a queue or by their user.
    """
    lacking, queued, resting = (
        cluster_manifest(name, n_workers=3) for name in ("lacking", "queued", "rests")
    )
    lacking["spec"]["worker"]["spec"]["nodeSelector"] = {"there-is": "none"}
    queued["spec"]["worker"]["spec"]["schedulingGates"] = [{"name": "kueue.x-k8s.io/admission"}]
    for manifest in (lacking, queued, resting):
        namespace = manifest["metadata"]["name"]
        served.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        served.create(manifest, namespace)
    served.create(cluster_manifest("whole", n_workers=2), "default")
    wait_for_workers(served, "whole", "default", 2)
    prometheus.scrape(operator)

    def by_namespace(expression: str) -> dict[str, float]:
        found = prometheus.query(expression)
        return {one["metric"]["namespace"]: float(one["value"][1]) for one in found}

    def told() -> dict[str, dict[str, float]]:
        of = ("wanted", "ready", "gated")
        return {name: by_namespace(f"dask_controller_workers_{name}") for name in of}

    wanted = {"default": 2, "lacking": 3, "queued": 3, "rests": 3}
    eventually(told, until=lambda found: found["wanted"] == wanted, timeout=PATIENCE, every=0.5)
    served.patch(DASK_CLUSTERS, "rests", {"spec": {"suspend": True}}, "rests")
    none = dict.fromkeys(wanted, 0.0)
    held_back = {
        "wanted": {**wanted, "rests": 0},
        "ready": {**none, "default": 2},
        "gated": {**none, "queued": 3},
    }
    eventually(told, until=lambda found: found == held_back, timeout=PATIENCE, every=0.5)
    (missing,) = [rule["expr"] for rule in alerts() if rule["alert"] == "DaskWorkersMissing"]
    assert by_namespace(missing) == {"lacking": 3}
    panel = {name: query for name, query in queries(DASHBOARDS[1]).items() if name.startswith("Workers:")}
    shown = {name: prometheus.query(query)[0]["value"][1] for name, query in panel.items()}
    assert shown == {"Workers: wanted": "8", "Workers: ready": "2", "Workers: gated": "3"}
