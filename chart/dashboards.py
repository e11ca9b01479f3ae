"""The dashboards for Grafana, in the few words that differ between panels; ``generate.py`` writes them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

WIDTH, COLUMNS, HEIGHT = 24, 3, 8


@dataclass(frozen=True)
class Panel:
    """A picture of some queries, each with its legend.

    Parameters
    ----------
    title, meaning : str
        What it shows, and what to make of it.
    queries : dict
        Legends and PromQL.
    unit : str
        One of Grafana's.
    kind : str
        A graph over time, or ``stat`` for numbers of now.
    """

    title: str
    meaning: str
    queries: dict[str, str]
    unit: str = "short"
    kind: str = "timeseries"


@dataclass(frozen=True)
class Dashboard:
    """Panels in rows, with variables that choose what they show.

    Parameters
    ----------
    name, title : str
        Its file and what it is called.
    panels : tuple of Panel
        What it shows.
    variables : dict
        Names of variables and the queries for what they may be.
    """

    name: str
    title: str
    panels: tuple[Panel, ...]
    variables: dict[str, str] = field(default_factory=dict)


QUANTILE = "histogram_quantile({q}, sum by (le) (rate({metric}_bucket[$__rate_interval])))"


def quantile(q: float, metric: str) -> str:
    return QUANTILE.format(q=q, metric=metric)


def rate(metric: str, by: str, selector: str = "", otherwise: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{selector}[$__rate_interval])){otherwise}"


def of_all_operators(metric: str, by: str) -> str:
    """Add up what operators count, all of whose replicas count the same."""
    return f"sum by ({by}) (max by ({by}, namespace, job) ({metric}))"


OF_OPERATORS = "and on (instance) dask_controller_leader"

OPERATOR = Dashboard(
    "operator",
    "Dask operator",
    (
        Panel(
            "Leader",
            "Of each operator exactly one replica acts.",
            {"{{namespace}}": "sum by (namespace, job) (dask_controller_leader)"},
            kind="stat",
        ),
        Panel(
            "Clusters by phase",
            "Running is whatever has all its parts; health is in the conditions.",
            {"{{phase}}": of_all_operators("dask_controller_clusters", "phase")},
            kind="stat",
        ),
        Panel(
            "Objects that wait for a person",
            "Their condition Stalled says what for.",
            {"{{kind}}": of_all_operators("dask_controller_stalled_objects", "kind")},
            kind="stat",
        ),
        Panel(
            "Workers",
            "What is wanted and not ready is starting, or waits for nodes, or for a queue that gates it.",
            {
                "wanted": "sum(max by (namespace) (dask_controller_workers_wanted))",
                "ready": "sum(max by (namespace) (dask_controller_workers_ready))",
                "gated": "sum(max by (namespace) (dask_controller_workers_gated))",
            },
        ),
        Panel(
            "Until a cluster is ready",
            "From its creation, or when it was let in; most of it is images and nodes.",
            {
                "half": quantile(0.5, "dask_controller_cluster_start_seconds"),
                "nine of ten": quantile(0.9, "dask_controller_cluster_start_seconds"),
            },
            "s",
        ),
        Panel(
            "Reconciles",
            "How often objects were looked at.",
            {"{{kind}} {{result}}": rate("dask_controller_reconciles_total", "kind, result")},
            "ops",
        ),
        Panel(
            "Errors of reconciles",
            "Conflicts are usual; the rest is tried again, and told in the log.",
            {
                "{{kind}} {{reason}}": rate(
                    "dask_controller_reconcile_errors_total", "kind, reason", otherwise=" or vector(0)"
                )
            },
            "ops",
        ),
        Panel(
            "Duration of reconciles",
            "Of one in ten, and of one in a hundred, at least.",
            {
                "nine of ten": quantile(0.9, "dask_controller_reconcile_seconds"),
                "99 of 100": quantile(0.99, "dask_controller_reconcile_seconds"),
            },
            "s",
        ),
        Panel(
            "Queue",
            "What waits, and for how long the first of it has.",
            {
                "objects": "max(dask_controller_queue_depth)",
                "seconds": "max(dask_controller_queue_longest_wait_seconds)",
            },
        ),
        Panel(
            "Requests to the API server",
            "By what was asked.",
            {"{{verb}} {{kind}}": rate("dask_controller_api_requests_total", "verb, kind")},
            "reqps",
        ),
        Panel(
            "Answers of the API server",
            "0 is none at all.",
            {"{{code}}": rate("dask_controller_api_requests_total", "code")},
            "reqps",
        ),
        Panel(
            "Requests forbidden",
            "By the operator's rights, which it should have, a quota, or admission.",
            {
                "{{by}} {{kind}}": rate(
                    "dask_controller_api_requests_forbidden_total", "by, kind", otherwise=" or vector(0)"
                )
            },
            "reqps",
        ),
        Panel(
            "Questions to schedulers",
            "By what came of them.",
            {
                "{{question}} {{outcome}}": rate(
                    "dask_controller_scheduler_questions_total", "question, outcome"
                )
            },
            "reqps",
        ),
        Panel(
            "Retirements refused",
            "Workers that hold what nobody can take over stay.",
            {
                "refused": rate(
                    "dask_controller_scheduler_questions_total",
                    "question",
                    '{question="retire", outcome="Refused"}',
                    " or vector(0)",
                )
            },
            "ops",
        ),
        Panel(
            "Event loop",
            "How late everything is: under 0.1 s as long as there is CPU enough.",
            {"99 of 100": quantile(0.99, "dask_controller_loop_lag_seconds")},
            "s",
        ),
        Panel(
            "Memory",
            "Of each replica.",
            {"{{instance}}": f"process_resident_memory_bytes {OF_OPERATORS}"},
            "bytes",
        ),
        Panel(
            "CPU",
            "Of each replica, in cores.",
            {"{{instance}}": f"rate(process_cpu_seconds_total[$__rate_interval]) {OF_OPERATORS}"},
        ),
    ),
)

ONE = '{dask_org_cluster_name=~"$cluster", namespace=~"$namespace"}'


def of(metric: str, by: str = "dask_org_cluster_name", more: str = "") -> str:
    return f"sum by ({by}) ({metric}{ONE.replace('}', more + '}')})"


def grows(metric: str, by: str = "dask_org_cluster_name") -> str:
    return f"sum by ({by}) (rate({metric}{ONE}[$__rate_interval]))"


def longest(metric: str) -> str:
    return f"max by (dask_org_cluster_name) ({metric}{ONE})"


BY_STATE = "dask_org_cluster_name, state"

CLUSTERS = Dashboard(
    "clusters",
    "Dask clusters",
    (
        Panel(
            "Workers",
            "Idle ones are what could be spared.",
            {
                "{{dask_org_cluster_name}} {{state}}": of(
                    "dask_scheduler_workers", "dask_org_cluster_name, state"
                )
            },
        ),
        Panel(
            "Workers that tasks could use",
            "What an autoscaler is told.",
            {"{{dask_org_cluster_name}}": of("dask_scheduler_desired_workers")},
        ),
        Panel("Clients", "Who is connected.", {"{{dask_org_cluster_name}}": of("dask_scheduler_clients")}),
        Panel(
            "Tasks",
            "Erred ones stay as long as somebody wants their result.",
            {
                "{{dask_org_cluster_name}} {{state}}": of(
                    "dask_scheduler_tasks", "dask_org_cluster_name, state"
                )
            },
        ),
        Panel(
            "Time in tasks",
            "Seconds of computing in a second: the threads that are busy.",
            {"{{task_prefix_name}}": grows("dask_scheduler_tasks_compute_seconds_total", "task_prefix_name")},
        ),
        Panel(
            "Suspicious tasks",
            "Those that were on workers that died.",
            {"{{dask_org_cluster_name}}": of("dask_scheduler_tasks_suspicious_total")},
        ),
        Panel(
            "Memory of workers",
            "Unmanaged memory that grows is a leak; spilled is on disk.",
            {"{{type}}": of("dask_worker_memory_bytes", "type")},
            "bytes",
        ),
        Panel(
            "Results in memory",
            "By what made them.",
            {"{{task_prefix_name}}": of("dask_scheduler_tasks_output_bytes", "task_prefix_name")},
            "bytes",
        ),
        Panel("Threads", "Of all workers.", {"{{dask_org_cluster_name}}": of("dask_worker_threads")}),
        Panel(
            "Transfers between workers",
            "Bytes under way.",
            {"{{dask_org_cluster_name}}": of("dask_worker_transfer_incoming_bytes")},
            "bytes",
        ),
        Panel(
            "Latency of workers",
            "To the scheduler and back.",
            {"{{dask_org_cluster_name}}": longest("dask_worker_latency_seconds")},
            "s",
        ),
        Panel(
            "Workers' event loops",
            "The longest pause: a task that holds the GIL.",
            {"{{dask_org_cluster_name}}": longest("dask_worker_tick_duration_maximum_seconds")},
            "s",
        ),
    ),
    {
        "namespace": "label_values(dask_scheduler_workers, namespace)",
        "cluster": 'label_values(dask_scheduler_workers{namespace=~"$namespace"}, dask_org_cluster_name)',
    },
)

DASHBOARDS = (OPERATOR, CLUSTERS)


def grafana(dashboard: Dashboard) -> str:
    """Return a dashboard as Grafana reads it."""
    source = {"type": "prometheus", "uid": "${datasource}"}
    variables: list[Json] = [{"name": "datasource", "type": "datasource", "query": "prometheus"}]
    for name, query in dashboard.variables.items():
        choice = {"includeAll": True, "multi": True, "allValue": ".*", "refresh": 2}
        variables.append({"name": name, "type": "query", "query": query, "datasource": source, **choice})
    body: Json = {
        "title": dashboard.title,
        "uid": f"dask-{dashboard.name}",
        "tags": ["dask"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": variables},
        "panels": [_panel(number, panel, source) for number, panel in enumerate(dashboard.panels)],
    }
    return json.dumps(body, indent=1, ensure_ascii=False) + "\n"


def _panel(number: int, panel: Panel, source: Json) -> Json:
    width = WIDTH // COLUMNS
    return {
        "id": number + 1,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.meaning,
        "datasource": source,
        "gridPos": {
            "x": number % COLUMNS * width,
            "y": number // COLUMNS * HEIGHT,
            "w": width,
            "h": HEIGHT,
        },
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + index), "expr": query, "legendFormat": legend, "datasource": source}
            for index, (legend, query) in enumerate(panel.queries.items())
        ],
    }
