"""A job on an API server made of a dictionary: reconcile by reconcile, with all others played by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from dask_k8s_controller.cache.objects import Pod
from dask_k8s_controller.cluster.observe import ObservedCluster
from dask_k8s_controller.cluster.spec import Cluster
from dask_k8s_controller.job.observe import ObservedJob
from dask_k8s_controller.job.plan import plan as plan_job
from dask_k8s_controller.job.spec import Job
from dask_k8s_controller.job.status import first_status as created_job_status
from dask_k8s_controller.job.status import status as job_status
from dask_k8s_controller.plans.actions import Action, Create, Delete, Outcome, Patch
from dask_k8s_controller.plans.plan import Plan
from dask_k8s_controller.settings import Policy
from dask_k8s_models import labels, names
from dask_k8s_models.job import JobStatus
from tests.unit.controller.builders import NOW, cluster_body, metadata, pod_body, pod_spec, time

Object = dict[str, Any]


def job_body(**spec: Any) -> Object:
    """A DaskJob that makes a cluster for itself, unless it has a clusterRef."""
    pod = {**pod_spec("job", "python", "train.py"), **spec.pop("pod", {})}
    more = spec.pop("metadata", {})
    if "clusterRef" not in spec:
        spec = {"cluster": {"spec": cluster_body()["spec"]}, **spec}
    spec = {"job": {"spec": pod}, **spec}
    return {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskJob",
        "metadata": metadata("j", "job", creationTimestamp=time(), **more),
        "spec": spec,
    }


class Story:
    """What happens to one job.

    Attributes
    ----------
    job, cluster : dict or None
        As the API server has them.
    pods : dict
        The runner's pods by name.
    killed_before : callable
        Told each write; if it returns True, the controller dies before that.
    """

    def __init__(self, **spec: Any) -> None:
        self.job: Object | None = job_body(**spec)
        self.cluster: Object | None = None
        self.schedulers: list[Object] = []
        self.pods: dict[str, Object] = {}
        self.ready_workers = 0
        self.now: datetime = NOW
        self.plan = Plan(self.observe(), Policy())
        self.log: list[str] = []
        self.killed_before: Callable[[str], bool] = lambda _: False

    # What others do

    def passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def cluster_appears(self, name: str = "existing") -> None:
        self.cluster = cluster_body(name, "theirs")

    def scheduler_starts(self, name: str = "") -> None:
        assert self.cluster is not None
        cluster = self.cluster["metadata"]["name"]
        name = name or names.scheduler(cluster)
        pod = pod_body(name, component="scheduler", of=cluster, age=0)
        pod["status"]["containerStatuses"] = [{"name": "scheduler", "restartCount": 0}]
        self.schedulers = [pod]

    def scheduler_restarts(self) -> None:
        self.schedulers[0]["status"]["containerStatuses"][0]["restartCount"] += 1

    def pod_runs(self, name: str = "j-runner") -> None:
        self.pods[name]["status"] = {
            "phase": "Running",
            "containerStatuses": [{"name": "job", "restartCount": 0}],
        }

    def pod_ends(self, name: str = "j-runner", exit_code: int = 0, words: str = "") -> None:
        ended = {
            "exitCode": exit_code,
            "reason": "Error" if exit_code else "Completed",
            "message": words,
            "finishedAt": self.now.isoformat(),
        }
        status = {"name": "job", "restartCount": 0, "state": {"terminated": ended}}
        phase = "Failed" if exit_code else "Succeeded"
        self.pods[name]["status"] = {"phase": phase, "containerStatuses": [status]}

    def container_crashes(self, restarts: int, *, waits: bool, name: str = "j-runner") -> None:
        ended = {"exitCode": 3, "reason": "Error", "message": "Traceback: no such file"}
        state = (
            {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
            if waits
            else {"running": {}}
        )
        status = {"name": "job", "restartCount": restarts, "state": state, "lastState": {"terminated": ended}}
        self.pods[name]["status"] = {"phase": "Running", "containerStatuses": [status]}

    def pod_vanishes(self, name: str = "j-runner") -> None:
        del self.pods[name]

    def user_sets(self, **spec: Any) -> None:
        assert self.job is not None
        self.job["spec"] |= spec
        self.job["metadata"]["generation"] += 1

    # What the controller does

    def observe(self) -> ObservedJob:
        assert self.job is not None
        job = Job.of(self.job)
        cluster = Cluster.of(self.cluster) if self.cluster is not None else None
        pods = tuple(Pod.of(body) for body in self.pods.values())
        observed = ObservedJob(
            subject=job,
            now=self.now,
            cluster=cluster,
            scheduler=self._scheduler(cluster),
            ready_workers=self.ready_workers,
            pods=pods,
        )
        following = names.runner(job.name, observed.attempts + 1)
        return replace(observed, name_holders=tuple(pod for pod in pods if pod.name == following))

    def _scheduler(self, cluster: Cluster | None) -> Pod | None:
        if cluster is None:
            return None
        pods = tuple(map(_pod_of(cluster), self.schedulers))
        return ObservedCluster(cluster, self.now, pods=pods).scheduler

    def reconcile(self) -> Plan:
        """One reconcile; the plan may be carried out in part only."""
        observed = self.observe()
        if not observed.job.status.get("jobStatus"):
            self._write_status(created_job_status(observed))
            observed = self.observe()
        self.plan = plan_job(observed, Policy())
        for action in self.plan.actions:
            self._write(action)
            if self.job is None:
                return self.plan
        self._write_status(job_status(self.observe(), self.plan, Outcome()))
        return self.plan

    def reconciles(self, number: int = 8) -> None:
        """As many reconciles as it takes until nothing is left to do."""
        for _ in range(number):
            before = copy.deepcopy((self.job, self.cluster, self.pods))
            if self.job is not None:
                self.reconcile()
            if before == (self.job, self.cluster, self.pods):
                return
        raise AssertionError(f"not settled after {number} reconciles: {self.log}")

    def _write(self, action: Action) -> None:
        match action:
            case Create(body):
                name, kind = body["metadata"]["name"], body["kind"]
                self._note(f"create {kind} {name}")
                if kind == "Pod":
                    assert name not in self.pods, f"{name} exists"
                    self.pods[name] = {**body, "metadata": metadata(**{"uid": name, **body["metadata"]})}
                    self.pods[name]["metadata"]["creationTimestamp"] = self.now.isoformat()
                else:
                    assert self.cluster is None
                    self.cluster = {
                        **body,
                        "metadata": metadata(**{"uid": f"made-{len(self.log)}", **body["metadata"]}),
                    }
            case Patch(kind, name, _, patch):
                self._note(f"patch {kind} {name}")
                target = self.pods[name] if kind == "Pod" else self.cluster
                assert target is not None
                for what, changes in patch["metadata"].items():
                    present = target["metadata"].setdefault(what, {})
                    present |= {key: value for key, value in changes.items() if value is not None}
                    for key in [key for key, value in changes.items() if value is None]:
                        present.pop(key, None)
            case Delete(kind, name, _, _):
                self._note(f"delete {kind} {name}")
                match kind:
                    case "Pod":
                        del self.pods[name]
                    case "DaskCluster":
                        self.cluster, self.schedulers = None, []
                    case "DaskJob":
                        self.job, self.cluster, self.schedulers, self.pods = None, None, [], {}

    def _write_status(self, desired: Object) -> None:
        assert self.job is not None
        status = {**self.job.get("status", {}), **desired}
        status = {key: value for key, value in status.items() if value is not None}
        if status != self.job.get("status"):
            self._note(f"status {status['jobStatus']}")
            JobStatus.model_validate(status)
            self.job["status"] = status

    def _note(self, write: str) -> None:
        if self.killed_before(write):
            raise Killed(write)
        self.log.append(write)

    # What a user sees

    @property
    def status(self) -> Object:
        assert self.job is not None
        found: Object = dict(self.job["status"])
        return found

    @property
    def conditions(self) -> dict[str, Object]:
        return {item["type"]: item for item in self.status["conditions"]}

    def condition(self, kind: str) -> tuple[str, str]:
        found = self.conditions[kind]
        return found["status"], found["reason"]


class Killed(Exception):
    """The controller dies here."""


def _pod_of(cluster: Cluster) -> Callable[[Object], Pod]:
    def pod(body: Object) -> Pod:
        owner = {"kind": "DaskCluster", "name": cluster.name, "uid": cluster.meta.uid, "controller": True}
        return Pod.of({**body, "metadata": {**body["metadata"], "ownerReferences": [owner]}})

    return pod


def environment(pod: Object) -> dict[str, str]:
    return {item["name"]: item["value"] for item in pod["spec"]["containers"][0]["env"]}


def components(objects: dict[str, Object]) -> set[str]:
    return {body["metadata"]["labels"][labels.COMPONENT] for body in objects.values()}
