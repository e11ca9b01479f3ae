"""What to do next about a DaskJob: a pure function of what was observed.

The end of a job, and its suspension, are written into its status before anything is removed because of them:
whoever restarts the controller in between finds the reason.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from dask_k8s_controller.cache.objects import Pod
from dask_k8s_controller.cluster.spec import Cluster
from dask_k8s_controller.job.children import job_cluster, job_cluster_metadata, runner_metadata, runner_pod
from dask_k8s_controller.job.observe import (
    SCHEDULER,
    JobPlan,
    ObservedJob,
    failures,
    has_lost_scheduler,
    instance_of,
)
from dask_k8s_controller.job.verdict import counted, deadline, verdict
from dask_k8s_controller.plans.actions import NAME_RETRY, Create
from dask_k8s_controller.plans.metadata import follow
from dask_k8s_controller.plans.ownership import delete_leftovers, is_of_an_earlier_owner
from dask_k8s_controller.plans.plan import Plan
from dask_k8s_controller.settings import Policy
from dask_k8s_models.job import JobSpec


def plan(observed: ObservedJob, policy: Policy) -> JobPlan:
    """Decide what to do next about a job."""
    draft = Plan(observed, policy)
    job = observed.subject
    pods = {pod.meta.uid: pod for pod in (*observed.pods, *observed.name_holders)}
    cluster = (observed.cluster,) if observed.cluster else ()
    delete_leftovers(draft, (*pods.values(), *cluster))
    if job.spec is None:
        draft.remark("InvalidSpec", job.problem, needs_a_person=True)
    elif job.has_finished:
        _clean_up(draft, job.spec)
    elif verdict(observed) is None:
        if job.is_suspended:
            _suspend(draft)
        elif not job.was_suspended:
            _run(draft, job.spec)
        _follow_metadata(draft)
    return draft


def _delete_children(draft: JobPlan, why: str, *, cluster_too: bool = True) -> None:
    """Delete the job's pods that run or will run, and its own cluster."""
    observed = draft.observed
    cluster = [observed.own_cluster] if cluster_too and observed.own_cluster else []
    draft.delete_all([*(pod for pod in observed.own_pods if pod.is_live), *cluster], why)


def _clean_up(draft: JobPlan, spec: JobSpec) -> None:
    job, policy, seconds = draft.observed.subject, spec.cleanupPolicy, spec.ttlSecondsAfterFinished
    goes = policy == "Always" or (policy == "OnSuccess" and job.was_successful)
    _delete_children(draft, "the job has finished", cluster_too=goes)
    if seconds is not None:
        due = (job.ended or draft.observed.now) + timedelta(seconds=seconds)
        if not draft.waits_until(due):
            draft.delete(job, f"it finished {seconds} s ago")


def _suspend(draft: JobPlan) -> None:
    draft.remark("Suspended", "spec.suspend is true: there are no pods until it becomes false.")
    # The status says so first: pods that go now have not failed.
    if draft.observed.subject.was_suspended:
        _delete_children(draft, "the job is suspended")


def _run(draft: JobPlan, spec: JobSpec) -> None:
    observed = draft.observed
    if (due := deadline(observed)) is not None:
        draft.requeue_no_later_than(due)
    _have_cluster(draft)
    running = [pod for pod in observed.own_pods if pod.is_live]
    for pod in running:
        if pod is not observed.latest:
            draft.delete(pod, "a later attempt has taken its place")
        elif has_lost_scheduler(observed, pod):
            draft.delete(pod, "it has lost its scheduler")
        elif pod.phase == "Pending":
            _note_scheduler(draft, pod)
    if not running:
        _start(draft, spec)


def _have_cluster(draft: JobPlan) -> None:
    job, cluster = draft.observed.subject, draft.observed.cluster
    if not job.has_own_cluster:
        if cluster is None:
            draft.remark("ClusterNotFound", f"Waiting for the DaskCluster {job.cluster} of spec.clusterRef.")
        elif cluster.meta.is_deleting:
            draft.remark("ClusterTerminating", f"The DaskCluster {job.cluster} is being deleted.")
    elif cluster is None:
        draft.actions.append(Create(job_cluster(job)))
    elif draft.observed.own_cluster is None and not is_of_an_earlier_owner(cluster, job):
        draft.remark(
            "ClusterNameTaken",
            f"There is a DaskCluster {job.cluster} already, and it isn't the job's: use it by "
            "spec.clusterRef, or give the job another name.",
            needs_a_person=True,
        )


def _note_scheduler(draft: JobPlan, pod: Pod) -> None:
    """A scheduler that was replaced before the pod began was no loss."""
    scheduler = draft.observed.usable_scheduler
    if scheduler is not None and pod.meta.annotations.get(SCHEDULER) != instance_of(scheduler):
        draft.patch(pod, {"metadata": {"annotations": {SCHEDULER: instance_of(scheduler)}}})


def _start(draft: JobPlan, spec: JobSpec) -> None:
    observed = draft.observed
    cluster, scheduler = observed.usable_cluster, observed.usable_scheduler
    failed, latest = failures(observed), observed.latest
    last = _last_sign_of(latest, observed.now) if failed and latest is not None else None
    if last is not None and draft.waits_until(last + timedelta(seconds=draft.policy.retry.bound(failed))):
        draft.remark("BackOff", f"After {counted(failed)}, the next attempt waits a while.")
        return
    if cluster is None:
        return
    workers = spec.minReadyWorkers or 0
    if scheduler is None or not scheduler.is_ready:
        draft.remark("SchedulerNotReady", _waiting_for(cluster, "its scheduler"))
    elif observed.ready_workers < workers:
        there = f"{observed.ready_workers} of {workers} workers"
        draft.remark("WorkersNotReady", _waiting_for(cluster, f"workers: {there} are ready"))
    else:
        pod = runner_pod(observed.subject, observed.attempts + 1, cluster, scheduler, failed)
        holder = next((pod for pod in observed.name_holders if not pod.meta.is_deleting), None)
        if holder is None:
            draft.actions.append(Create(pod))
        elif not is_of_an_earlier_owner(holder, observed.subject):
            draft.remark(
                "PodNameTaken",
                f"There is a pod {holder.name} already, and it isn't the job's: rename one of them.",
                needs_a_person=True,
            )
            draft.requeue_after(NAME_RETRY)


def _last_sign_of(pod: Pod, now: datetime) -> datetime | None:
    """When a pod ended, else when it was made; a node's clock that is ahead doesn't count."""
    return next((moment for moment in (pod.ended, pod.meta.created) if moment and moment <= now), None)


def _waiting_for(cluster: Cluster, what: str) -> str:
    ready = cluster.condition("Ready")
    says = f" {ready['message']}" if ready.get("status") == "False" and ready.get("message") else ""
    return f"Waiting for the DaskCluster {cluster.name} and {what}.{says}"


def _follow_metadata(draft: JobPlan) -> None:
    job, cluster = draft.observed.subject, draft.observed.own_cluster
    if cluster is not None and not cluster.meta.is_deleting:
        follow(draft, cluster, job_cluster_metadata(job))
    desired = runner_metadata(job)
    for pod in draft.observed.own_pods:
        if pod.is_live:
            follow(draft, pod, desired)
