"""A job, reconcile by reconcile, with all others played by hand."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

from dask_k8s_controller.runtime.queue import Requeue
from dask_k8s_local.api import Request
from dask_k8s_models import names
from tests.harness.breaking import asked, is_the_controllers
from tests.harness.by_hand import ControllerByHand, owned_by
from tests.harness.kube import Object
from tests.unit.controller.builders import cluster_body, group_body, job_body, pod_body, pod_spec

CLUSTERS = "daskclusters.kubernetes.dask.org"
GROUPS = "daskworkergroups.kubernetes.dask.org"
JOBS = "daskjobs.kubernetes.dask.org"
RUNNER = "dask.org/component=job-runner"
HOLD = "tests.example.com/hold"
WRITES = ("create", "patch", "delete")


class Story:
    """What happens to one job.

    Attributes
    ----------
    requeue : Requeue
        When the job is to be reconciled again, as the last reconcile said.
    """

    def __init__(self, controller: ControllerByHand, **spec: Any) -> None:
        self.controller = controller
        self.kube, self.namespace = controller.kube, controller.namespace
        self._begun = len(controller.kubernetes.faults.log)
        body = job_body(**spec)
        given = {key: body["metadata"].pop(key, None) for key in ("labels", "annotations", "finalizers")}
        created = controller.create(body, **{key: value for key, value in given.items() if value})
        controller.clock.beginning = _moment(created["metadata"]["creationTimestamp"])
        self.requeue = Requeue()

    # What others do

    def passes(self, seconds: float) -> None:
        self.controller.clock.advance(seconds)

    def cluster_appears(self, name: str = "existing") -> None:
        self.controller.create(cluster_body(name))

    def scheduler_starts(self, name: str = "") -> None:
        """Have the cluster's scheduler, in the place of any other."""
        assert self.cluster is not None
        self.scheduler_goes()
        cluster = self.cluster["metadata"]["name"]
        self._pod(name or names.scheduler(cluster), "scheduler", self.cluster, cluster)

    def scheduler_goes(self) -> None:
        for pod in self._pods("dask.org/component=scheduler"):
            self._remove(pod)

    def scheduler_restarts(self) -> None:
        [pod] = self._pods("dask.org/component=scheduler")
        restarts = pod["status"]["containerStatuses"][0]["restartCount"] + 1
        self._tell(pod["metadata"]["name"], "Running", scheduler={"restartCount": restarts})

    def workers_are_ready(self, count: int) -> None:
        assert self.cluster is not None
        if not self.kube.list(GROUPS, self.namespace):
            group = group_body("j-default", of="j", owner="")
            self.controller.create(group, ownerReferences=owned_by(self.cluster))
        patch = {"status": {"readyReplicas": count}}
        self.kube.patch(GROUPS, "j-default", patch, self.namespace, subresource="status")

    def pod_runs(self, name: str = "j-runner") -> None:
        self._tell(name, "Running", job={})

    def pod_ends(self, name: str = "j-runner", exit_code: int = 0, words: str = "") -> None:
        ended = {
            "exitCode": exit_code,
            "reason": "Error" if exit_code else "Completed",
            "message": words,
            "finishedAt": self.now.isoformat(),
        }
        state = {"state": {"terminated": ended}}
        self._tell(name, "Failed" if exit_code else "Succeeded", job=state)

    def pod_fails(self, reason: str, message: str = "") -> None:
        """Have the pod fail as a whole, as when it is evicted."""
        self._tell("j-runner", "Failed", reason=reason, message=message)

    def container_crashes(self, restarts: int, *, waits: bool) -> None:
        ended = {"exitCode": 3, "reason": "Error", "message": "Traceback: no such file"}
        waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
        state = waiting if waits else {"running": {}}
        job = {"restartCount": restarts, "state": state, "lastState": {"terminated": ended}}
        self._tell("j-runner", "Running", job=job)

    def pod_waits(self, reason: str, message: str) -> None:
        waiting = {"state": {"waiting": {"reason": reason, "message": message}}}
        self._tell("j-runner", "Pending", job=waiting)

    def pod_vanishes(self, name: str = "j-runner") -> None:
        self._remove(self.pods[name])

    def pod_takes_its_time(self, name: str = "j-runner") -> None:
        """Let the pod stay for a while when it is deleted, as one on a node does."""
        self.kube.patch("pods", name, {"metadata": {"finalizers": [HOLD]}}, self.namespace)

    def runner_comes_back(self) -> None:
        """Have the first attempt's pod, of which nobody knew any longer."""
        assert self.job is not None
        self._pod("j-runner", "job-runner", self.job, "j")

    def somebody_makes_a_pod(self, name: str) -> None:
        """Have a pod of that name that looks like a job's, and belongs to nobody."""
        body = pod_body(name, component="job-runner", of="j")
        self.controller.create({**body, "spec": pod_spec("other")}, labels=body["metadata"]["labels"])

    def sidecar_restarts(self) -> None:
        self._tell("j-scheduler", "Running", proxy={"restartCount": 1}, scheduler={})

    def cluster_is_deleted(self) -> None:
        """Let the cluster be on its way out, as something holds it up."""
        self.kube.patch(CLUSTERS, "existing", {"metadata": {"finalizers": [HOLD]}}, self.namespace)
        self.kube.delete(CLUSTERS, "existing", self.namespace)

    def cluster_suffers(self, reason: str, message: str) -> None:
        ready = {"type": "Ready", "status": "False", "reason": reason, "message": message}
        conditions = [{**ready, "lastTransitionTime": self.at(0)}]
        patch = {"status": {"conditions": conditions}}
        self.kube.patch(CLUSTERS, "j", patch, self.namespace, subresource="status")

    def user_sets(self, **spec: Any) -> None:
        self.kube.patch(JOBS, "j", {"spec": spec}, self.namespace)

    def _pod(self, name: str, component: str, owner: Object, of: str) -> None:
        body = pod_body(name, component=component, of=of)
        spec = pod_spec(component)
        metadata = {"labels": body["metadata"]["labels"], "ownerReferences": owned_by(owner)}
        self.controller.create({**body, "spec": spec}, **metadata)
        self._tell(name, "Running", **{component: {}})

    def _tell(self, pod: str, phase: str, reason: str = "", message: str = "", **containers: Object) -> None:
        """Write a pod's status, as its kubelet would."""
        about = {"image": "dask", "imageID": "", "ready": phase == "Running", "restartCount": 0}
        statuses = [{**about, "name": name, **status} for name, status in containers.items()]
        ready = {"type": "Ready", "status": str(phase == "Running")}
        status = {"phase": phase, "reason": reason, "message": message, "conditions": [ready]}
        patch = {"status": {**status, "containerStatuses": statuses}}
        self.kube.patch("pods", pod, patch, self.namespace, subresource="status")

    def _remove(self, pod: Object) -> None:
        name = pod["metadata"]["name"]
        self.kube.delete("pods", name, self.namespace, gracePeriodSeconds=0)
        if "finalizers" in pod["metadata"]:
            self.kube.patch("pods", name, {"metadata": {"finalizers": None}}, self.namespace)
        self.kube.gone("pods", name, self.namespace)

    # What the controller does

    async def reconcile(self) -> None:
        """Reconcile once, with what is there now."""
        await self.controller.look()
        self.requeue = await self.controller.reconcile("DaskJob", "j")

    async def reconciles(self, number: int = 8) -> None:
        """Reconcile until nothing is left to do."""
        for _ in range(number):
            before = len(self.log)
            await self.reconcile()
            if len(self.log) == before:
                return
        raise AssertionError(f"not settled after {number} reconciles: {self.log}")

    async def reconciles_killed_before(self, write: int) -> None:
        """Reconcile as ever, by a controller that may die: before the n-th write of the story, from 1."""
        dies, loop = asyncio.Event(), asyncio.get_running_loop()

        def is_its_last(request: Request) -> bool:
            is_last = self._is_write(request) and len(self.log) == write
            if is_last:
                loop.call_soon_threadsafe(dies.set)
            return is_last

        fault = self.controller.kubernetes.faults.hang(when=is_its_last)
        working, dying = asyncio.create_task(self.reconciles()), asyncio.create_task(dies.wait())
        await asyncio.wait((working, dying), return_when=asyncio.FIRST_COMPLETED)
        self.controller.kubernetes.faults.remove(fault)
        if dies.is_set():
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            await self._another_controller()
            await self.reconciles()
        else:
            dying.cancel()
            await working

    async def _another_controller(self) -> None:
        before = self.controller
        await before.close()
        self.controller = ControllerByHand(
            before.kubernetes, before.kube, before.namespace, clock=before.clock
        )

    # What a user sees

    @property
    def now(self) -> datetime:
        return self.controller.clock.now()

    def at(self, seconds: float) -> str:
        """Return the time so long after the beginning."""
        return (self.controller.clock.beginning + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")

    @property
    def log(self) -> list[str]:
        """The writes of the controller, such as ``patch daskjobs/status``, but for Events."""
        requests = self.controller.kubernetes.faults.log[self._begun :]
        return [asked(request) for request in requests if self._is_write(request)]

    def _is_write(self, request: Request) -> bool:
        is_ours = is_the_controllers(request) and request.namespace == self.namespace
        return is_ours and request.verb in WRITES and request.resource != "events"

    @property
    def job(self) -> Object | None:
        return self.kube.find(JOBS, "j", self.namespace)

    @property
    def cluster(self) -> Object | None:
        """The only cluster that isn't about to go."""
        found = self.kube.list(CLUSTERS, self.namespace)
        return next((one for one in found if "deletionTimestamp" not in one["metadata"]), None)

    @property
    def pods(self) -> dict[str, Object]:
        """The job's pods by name."""
        return {pod["metadata"]["name"]: pod for pod in self._pods(RUNNER)}

    def _pods(self, selector: str) -> list[Object]:
        return self.kube.list("pods", self.namespace, selector)

    @property
    def status(self) -> Object:
        assert self.job is not None
        found: Object = self.job["status"]
        return found

    @property
    def conditions(self) -> dict[str, Object]:
        return {item["type"]: item for item in self.status["conditions"]}

    def condition(self, kind: str) -> tuple[str, str]:
        found = self.conditions[kind]
        return found["status"], found["reason"]


async def running(by_hand: ControllerByHand, **spec: Any) -> Story:
    """A job whose pod runs."""
    story = Story(by_hand, **spec)
    if "clusterRef" in spec:
        story.cluster_appears(spec["clusterRef"]["name"])
        story.scheduler_starts()
    await story.reconciles()
    if "clusterRef" not in spec:
        story.scheduler_starts()
    await story.reconciles()
    story.pod_runs()
    story.passes(5)
    await story.reconciles()
    return story


def environment(pod: Object) -> dict[str, str]:
    return {item["name"]: item["value"] for item in pod["spec"]["containers"][0]["env"]}


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
