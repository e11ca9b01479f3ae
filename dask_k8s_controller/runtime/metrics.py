"""What is counted for Prometheus, as docs/monitoring.md lists it: https://prometheus.io/docs/practices/naming/."""

from __future__ import annotations

from datetime import datetime

import prometheus_client as prometheus

from dask_k8s_controller.kubernetes.resources import CLUSTERS, Key

PREFIX = "dask_controller"


class Metrics:
    """The controller's metrics, in a registry of their own."""

    content_type = prometheus.CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=self.registry)
        prometheus.GCCollector(registry=self.registry)
        self.reconciles = self._counter("reconciles", "Reconciles of objects.", "kind", "result")
        self.reconcile_seconds = prometheus.Histogram(
            f"{PREFIX}_reconcile_seconds", "Duration of reconciles.", ["kind"], registry=self.registry
        )
        self.reconcile_errors = self._counter(
            "reconcile_errors",
            "What went wrong in reconciles, each of which is tried again.",
            "kind",
            "reason",
        )
        self.api_requests = self._counter(
            "api_requests", "Requests to the API server, without the watches.", "verb", "kind", "code"
        )
        self.scheduler_questions = self._counter(
            "scheduler_questions", "Questions to schedulers, and what came of them.", "question", "outcome"
        )
        self.cluster_start_seconds = prometheus.Histogram(
            f"{PREFIX}_cluster_start_seconds",
            "From the creation of a DaskCluster to its being Ready for the first time.",
            buckets=(1, 2, 5, 10, 20, 30, 60, 120, 300, 600),
            registry=self.registry,
        )
        self.loop_lag_seconds = prometheus.Histogram(
            f"{PREFIX}_loop_lag_seconds",
            "How late the event loop is: everything that is due waits as long.",
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
            registry=self.registry,
        )

    def _counter(self, name: str, meaning: str, *labels: str) -> prometheus.Counter:
        return prometheus.Counter(f"{PREFIX}_{name}", meaning, labels, registry=self.registry)

    def reconcile_done(self, key: Key, seconds: float, failed: bool) -> None:
        """Count a reconcile."""
        self.reconciles.labels(key.kind, "error" if failed else "success").inc()
        self.reconcile_seconds.labels(key.kind).observe(seconds)

    def reconcile_failed(self, kind: str, reason: str) -> None:
        """Count what went wrong in a reconcile."""
        self.reconcile_errors.labels(kind, reason).inc()

    def request_done(self, verb: str, kind: str, code: int) -> None:
        """Count a request."""
        self.api_requests.labels(verb, kind, str(code)).inc()

    def question_done(self, question: str, outcome: str) -> None:
        """Count a question to a scheduler."""
        self.scheduler_questions.labels(question, outcome).inc()

    def became_ready(self, kind: str, created: datetime | None, now: datetime) -> None:
        """Note that an object has become ready for the first time."""
        if kind == CLUSTERS.kind and created is not None:
            self.cluster_start_seconds.observe(max(0.0, (now - created).total_seconds()))

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return prometheus.generate_latest(self.registry)
