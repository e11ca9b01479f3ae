"""What a pod spec and a Service say about the Dask process that they are for."""

from __future__ import annotations

from typing import Any

import pytest

from dask_k8s_models import commands, pods, service
from dask_k8s_models.labels import DEFAULT_CONTAINER

Json = dict[str, Any]


def container(name: str, *words: str, ports: dict[str, int] | None = None, **env: str) -> Json:
    return {
        "name": name,
        "args": list(words),
        "ports": [{"name": called, "containerPort": port} for called, port in (ports or {}).items()],
        "env": [{"name": key, "value": value} for key, value in env.items()],
    }


def scheduler(*words: str, ports: dict[str, int] | None = None, **env: str) -> Json:
    return {"containers": [container("scheduler", "dask", "scheduler", *words, ports=ports, **env)]}


AGENT = container("vault-agent", "sleep", "1000")
PROXY = container("proxy", "--upstream=http://dask-scheduler:8787", "--name", "dask-scheduler.ns.svc")


@pytest.mark.parametrize(
    ("component", "main"),
    [
        ("scheduler", container("scheduler", "./start.sh")),
        ("scheduler", container("dask-scheduler", "./start.sh")),
        ("scheduler", container("main", "dask", "scheduler")),
        ("scheduler", container("main", "dask-scheduler", "--host", "0.0.0.0")),
        ("scheduler", container("main", "/opt/conda/bin/dask-scheduler")),
        ("scheduler", container("main", "python", "-m", "distributed.cli.dask_scheduler")),
        ("scheduler", container("main", "sh", "-c", "pip install s3fs && exec dask scheduler --port 80")),
        ("scheduler", container("main", "./start.sh", ports={"tcp-comm": 1})),
        ("scheduler", container("main", "./start.sh", ports={"comm": 8786})),
        ("worker", container("worker", "./start.sh")),
        ("worker", container("dask-worker", "./start.sh")),
        ("worker", container("main", "dask", "worker", "--name", "$(DASK_WORKER_NAME)")),
        ("worker", container("main", "dask", "cuda", "worker")),
        ("worker", container("main", "dask-cuda-worker")),
        ("job-runner", container("job", "python", "work.py")),
    ],
)
@pytest.mark.parametrize("sidecars_first", [True, False])
def test_sidecars_are_told_from_the_container_that_runs_dask(
    component: str, main: Json, sidecars_first: bool
) -> None:
    containers = [AGENT, PROXY, main] if sidecars_first else [main, AGENT, PROXY]

    assert pods.main_container({"containers": containers}, component) is main


def test_each_way_of_finding_dasks_container_goes_before_the_next() -> None:
    by_port = container("by-port", "./start.sh", ports={"tcp-comm": 8786})
    by_command = container("by-command", "dask", "scheduler")
    by_other_name, by_name = container("dask-scheduler"), container("scheduler")
    chosen = container("chosen")
    order = [chosen, by_name, by_other_name, by_command, by_port, AGENT]

    for index, expected in enumerate(order):
        left = {"containers": [AGENT, *reversed(order[index:-1])]}
        assert pods.main_container(left, "scheduler", {DEFAULT_CONTAINER: "chosen"}) is expected


def test_an_annotation_that_names_no_container_chooses_none() -> None:
    spec = {"containers": [AGENT, container("worker")]}

    assert pods.main_container(spec, "worker", {DEFAULT_CONTAINER: "lost"})["name"] == "worker"


@pytest.mark.parametrize("spec", [{}, {"containers": None}, {"containers": []}])
def test_a_pod_without_containers_has_none_that_runs_dask(spec: Json) -> None:
    assert pods.main_container(spec, "worker") == {}


@pytest.mark.parametrize(
    ("spec", "protocol"),
    [
        (scheduler(), "tcp"),
        (scheduler("--protocol", "ws"), "ws"),
        (scheduler("--protocol=tls://"), "tls"),
        (scheduler("--protocol", "tls,wss", "--port", "8786,8790"), "tls"),
        (scheduler("--host", "tls://0.0.0.0"), "tls"),
        (scheduler("--host", "0.0.0.0"), "tcp"),
        (scheduler("--tls-ca-file", "/ca.pem"), "tls"),
        (scheduler(DASK_DISTRIBUTED__COMM__DEFAULT_SCHEME="ws"), "ws"),
        (scheduler(DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION="True"), "tls"),
        (scheduler(DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION="False"), "tcp"),
        (scheduler("--protocol", "tcp", DASK_DISTRIBUTED__COMM__DEFAULT_SCHEME="ws"), "tcp"),
        ({"containers": [container("scheduler", "sh", "-c", "dask scheduler --protocol 'ws'")]}, "ws"),
    ],
)
def test_the_protocol_comes_from_arguments_or_environment(spec: Json, protocol: str) -> None:
    assert pods.scheduler_protocol(spec) == protocol


def test_variables_are_read_as_dask_reads_them() -> None:
    spec = container("scheduler", dask_distributed__comm__default_scheme="no", DASK_A__B_C="yes")

    assert commands.variable(spec, "distributed.comm.default-scheme") is None
    assert commands.variable(spec, "a.b-c") == "yes"


@pytest.mark.parametrize(
    ("words", "prefix"),
    [
        ([], ""),
        (["--dashboard-prefix", "/dataplane/pod/8787"], "/dataplane/pod/8787"),
        (["--dashboard-prefix=me/"], "/me"),
        (["--dashboard-prefix", "/"], ""),
    ],
)
def test_the_dashboards_prefix_comes_from_the_arguments(words: list[str], prefix: str) -> None:
    assert pods.dashboard_prefix(scheduler(*words)) == prefix


@pytest.mark.parametrize(
    ("spec", "comm", "dashboard"),
    [
        (scheduler(), 8786, 8787),
        (scheduler("--port", "9000", "--dashboard-address", ":9001"), 9000, 9001),
        (scheduler("--dashboard-address", "0.0.0.0:80"), 8786, 80),
        (scheduler("--port", "0"), 8786, 8787),
        (scheduler("--port", "9" * 5000, "--dashboard-address", ":" + "9" * 5000), 8786, 8787),
        (scheduler(ports={"tcp-comm": 1, "http-dashboard": 2}), 1, 2),
    ],
)
def test_the_schedulers_own_ports(spec: Json, comm: int, dashboard: int) -> None:
    assert (pods.comm_port(spec), pods.dashboard_port(spec)) == (comm, dashboard)


def test_jupyter_is_recognised_in_dasks_container_only() -> None:
    assert pods.runs_jupyter(scheduler("--jupyter"))
    assert not pods.runs_jupyter(scheduler("--jupyter", "--no-jupyter"))
    assert not pods.runs_jupyter({"containers": [container("lab", "--jupyter"), container("scheduler")]})


def a_service(*ports: tuple[str, int, int | str]) -> Json:
    return {"ports": [{"name": name, "port": port, "targetPort": target} for name, port, target in ports]}


@pytest.mark.parametrize(
    ("spec", "comm", "dashboard"),
    [
        (None, 8786, 8787),
        ({}, 8786, 8787),
        (a_service(("tcp-comm", 1, 1), ("http-dashboard", 2, 2)), 1, 2),
        (a_service(("comm", 8786, 1), ("dashboard", 8787, 2)), 8786, 8787),
        (a_service(("a", 8786, 1), ("tcp-comm", 5, 1)), 5, None),
        (a_service(("web", 80, "http-dashboard"), ("comm", 81, 8786)), 81, 80),
        (a_service(("any", 5, 5)), 5, None),
        (a_service(("a", 1, 1), ("b", 2, 2)), None, None),
    ],
)
def test_a_services_ports_are_found_by_name_by_number_by_target(
    spec: Json | None, comm: int | None, dashboard: int | None
) -> None:
    found = [service.comm_port(spec), service.dashboard_port(spec)]

    assert [None if port is None else port["port"] for port in found] == [comm, dashboard]


@pytest.mark.parametrize(
    ("port", "target"),
    [
        ({"port": 80, "targetPort": "tcp-comm"}, 9000),
        ({"port": 80, "targetPort": "8786"}, 8786),
        ({"port": 80, "targetPort": 8786}, 8786),
        ({"port": 80}, 80),
        ({"port": 80, "targetPort": "other"}, None),
    ],
)
def test_target_ports_are_those_of_the_pod(port: Json, target: int | None) -> None:
    assert service.target_port(port, scheduler(ports={"tcp-comm": 9000})) == target


def test_default_ports_lead_to_where_the_scheduler_listens() -> None:
    spec = scheduler("--port", "9000", ports={"http-dashboard": 9001})

    comm, dashboard = service.default_ports(spec)

    assert (comm["port"], comm["targetPort"]) == (8786, 9000)
    assert (dashboard["port"], dashboard["targetPort"]) == (8787, "http-dashboard")
