"""What to do next about a DaskJob: a pure function of what was observed.

The end of a job, and its suspension, are written into its status before anything is removed because of them:
whoever restarts the controller in between finds the reason.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from dask_k8s_controller.cache.objects import Pod
from dask_k8s_controller.cluster.spec import Cluster
from dask_k8s_controller.job.children import job_cluster, job_cluster_metadata, runner_metadata, runner_pod
from dask_k8s_controller.job.observe import SCHEDULER, ObservedJob, failures, has_lost_scheduler, incarnation
from dask_k8s_controller.job.verdict import counted, deadline, verdict
from dask_k8s_controller.plans.actions import NAME_RETRY, Create, Draft, Patch, Plan
from dask_k8s_controller.plans.metadata import metadata_patch
from dask_k8s_controller.plans.ownership import delete, delete_leftovers, is_of_an_earlier_owner
from dask_k8s_controller.settings import Policy, Retry
from dask_k8s_models.job import JobSpec


def plan(observed: ObservedJob, policy: Policy) -> Plan:
    """Decide what to do next about a job.

    Parameters
    ----------
    observed : ObservedJob
        The job, its pods and its cluster.
    policy : Policy
        How long to wait between attempts.
    """
    draft = Draft(observed.now)
    job = observed.job
    if job.meta.is_deleting:
        return draft.done()
    pods = {pod.meta.uid: pod for pod in (*observed.pods, *observed.name_holders)}
    cluster = (observed.cluster,) if observed.cluster else ()
    delete_leftovers(draft, job, (*pods.values(), *cluster))
    if job.spec is None:
        draft.remark("InvalidSpec", job.problem, needs_a_person=True)
    elif job.has_finished:
        _clean_up(draft, observed, job.spec)
    elif verdict(observed) is None:
        if job.is_suspended:
            _suspend(draft, observed)
        elif not job.was_suspended:
            _run(draft, observed, job.spec, policy.retry)
        _follow_metadata(draft, observed)
    return draft.done()


def _clean_up(draft: Draft, observed: ObservedJob, spec: JobSpec) -> None:
    job, cluster = observed.job, observed.own_cluster
    for pod in observed.own_pods:
        if pod.is_live:
            draft.actions.append(delete(pod, "the job has finished"))
    goes = spec.cleanupPolicy == "Always" or (spec.cleanupPolicy == "OnSuccess" and job.was_successful)
    if cluster is not None and goes and not cluster.meta.is_deleting:
        draft.actions.append(delete(cluster, "the job has finished"))
    if spec.ttlSecondsAfterFinished is not None:
        due = (job.ended or observed.now) + timedelta(seconds=spec.ttlSecondsAfterFinished)
        if due > observed.now:
            draft.requeue_no_later_than(due)
        else:
            why = f"it finished {spec.ttlSecondsAfterFinished} s ago"
            draft.actions.append(delete(job, why))


def _suspend(draft: Draft, observed: ObservedJob) -> None:
    draft.remark("Suspended", "spec.suspend is true: there are no pods until it becomes false.")
    if not observed.job.was_suspended:
        return  # The status says so first: pods that go now have not failed.
    for pod in observed.own_pods:
        if pod.is_live:
            draft.actions.append(delete(pod, "the job is suspended"))
    cluster = observed.own_cluster
    if cluster is not None and not cluster.meta.is_deleting:
        draft.actions.append(delete(cluster, "the job is suspended"))


def _run(draft: Draft, observed: ObservedJob, spec: JobSpec, retry: Retry) -> None:
    if (due := deadline(observed)) is not None:
        draft.requeue_no_later_than(due)
    _have_cluster(draft, observed)
    running = [pod for pod in observed.own_pods if pod.is_live]
    for pod in running:
        if pod is not observed.latest:
            draft.actions.append(delete(pod, "a later attempt has taken its place"))
        elif has_lost_scheduler(observed, pod):
            draft.actions.append(delete(pod, "it has lost its scheduler"))
        elif pod.phase == "Pending":
            _note_scheduler(draft, observed, pod)
    if not running:
        _start(draft, observed, spec, retry)


def _have_cluster(draft: Draft, observed: ObservedJob) -> None:
    job, cluster = observed.job, observed.cluster
    if not job.has_own_cluster:
        if cluster is None:
            draft.remark("ClusterNotFound", f"Waiting for the DaskCluster {job.cluster} of spec.clusterRef.")
        elif cluster.meta.is_deleting:
            draft.remark("ClusterTerminating", f"The DaskCluster {job.cluster} is being deleted.")
    elif cluster is None:
        draft.actions.append(Create(job_cluster(job)))
    elif observed.own_cluster is None and not is_of_an_earlier_owner(cluster, observed.job):
        draft.remark(
            "ClusterNameTaken",
            f"There is a DaskCluster {job.cluster} already, and it isn't the job's: use it by "
            "spec.clusterRef, or give the job another name.",
            needs_a_person=True,
        )


def _note_scheduler(draft: Draft, observed: ObservedJob, pod: Pod) -> None:
    """A scheduler that was replaced before the pod began was no loss."""
    scheduler = observed.usable_scheduler
    if scheduler is not None and pod.meta.annotations.get(SCHEDULER) != incarnation(scheduler):
        patch = {"metadata": {"annotations": {SCHEDULER: incarnation(scheduler)}}}
        draft.actions.append(Patch("Pod", pod.name, pod.meta.uid, patch))


def _start(draft: Draft, observed: ObservedJob, spec: JobSpec, retry: Retry) -> None:
    cluster, scheduler = observed.usable_cluster, observed.usable_scheduler
    failed, latest = failures(observed), observed.latest
    if failed and latest is not None and (last := _last_sign_of(latest, observed.now)) is not None:
        due = last + timedelta(seconds=retry.delay(failed))
        if due > observed.now:
            draft.remark("BackOff", f"After {counted(failed)}, the next attempt waits a while.")
            draft.requeue_no_later_than(due)
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
        pod = runner_pod(observed.job, observed.attempts + 1, cluster, scheduler, failed)
        holder = next((pod for pod in observed.name_holders if not pod.meta.is_deleting), None)
        if holder is None:
            draft.actions.append(Create(pod))
        elif not is_of_an_earlier_owner(holder, observed.job):
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
    conditions = {item["type"]: item for item in cluster.status.get("conditions") or ()}
    ready = conditions.get("Ready") or {}
    says = f" {ready['message']}" if ready.get("status") == "False" and ready.get("message") else ""
    return f"Waiting for the DaskCluster {cluster.name} and {what}.{says}"


def _follow_metadata(draft: Draft, observed: ObservedJob) -> None:
    job, cluster = observed.job, observed.own_cluster
    if (
        cluster is not None
        and not cluster.meta.is_deleting
        and (patch := metadata_patch(cluster.meta, job_cluster_metadata(job)))
    ):
        draft.actions.append(Patch("DaskCluster", cluster.name, cluster.meta.uid, patch))
    desired = runner_metadata(job)
    for pod in observed.own_pods:
        if pod.is_live and (patch := metadata_patch(pod.meta, desired)):
            draft.actions.append(Patch("Pod", pod.name, pod.meta.uid, patch))
