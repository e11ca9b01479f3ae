"""The status of a job: a pure function of what was observed, planned, and became of the plan."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from dask_k8s_controller.job.observe import JobPlan, ObservedJob, failures
from dask_k8s_controller.job.spec import COMPLETE, FAILED, SUSPENDED, Job
from dask_k8s_controller.job.verdict import Verdict, counted, last_failure, verdict
from dask_k8s_controller.plans import conditions
from dask_k8s_controller.plans.actions import Outcome, Remark
from dask_k8s_controller.plans.conditions import Condition, Status, stated, summary
from dask_k8s_controller.plans.notices import Notice, changes
from dask_k8s_controller.plans.pod_problems import command_of, problem_of
from dask_k8s_models.job import JobStatusWord
from dask_k8s_models.labels import Component
from dask_k8s_models.scalars import to_time


def first_status(observed: ObservedJob) -> Status | None:
    """The first status of a job."""
    noted = Remark("JobCreated", "The controller has taken note of the job.")
    return conditions.first_status(observed, "jobStatus", noted)


def status(observed: ObservedJob, plan: JobPlan, outcome: Outcome) -> Status:
    """The status of a job; a field that is None is to be removed."""
    job, ended = observed.subject, verdict(observed)
    remarks = [*plan.remarks, *outcome.remarks]
    if ended is not None and job.has_finished:
        return stated(observed, _end(ended, remarks))
    desired: Status = {"attempts": observed.attempts}
    if ended is not None:
        desired |= _start(observed)
        desired["jobStatus"] = (JobStatusWord.SUCCESSFUL if ended.is_success else JobStatusWord.FAILED).value
        began = desired.get("startTime") or job.status.get("startTime")
        # A node says when a pod ended, and its clock may be behind ours.
        desired["endTime"] = max(to_time(ended.at), began or "")
        told = _end(ended, remarks)
    elif job.is_suspended:
        desired |= {"jobStatus": JobStatusWord.JOB_CREATED.value, "startTime": None, "jobRunnerPodName": None}
        desired["clusterName"] = None if job.has_own_cluster else job.cluster
        told = summary(False, remarks, Remark(SUSPENDED, ""))
    else:
        desired |= _start(observed)
        desired["jobStatus"] = _word(observed, desired).value
        told = summary(False, [*remarks, *_problems(observed)], _progress(observed))
    return desired | stated(observed, (*told, *_suspended(job)))


def notices(observed: ObservedJob, plan: JobPlan, outcome: Outcome, status: Status) -> Iterable[Notice]:
    """Find what is worth an Event: how the job ended, and what a person must act upon."""
    ended = verdict(observed)
    if ended is not None and ended.is_success and not observed.subject.has_finished:
        yield Notice(ended.reason, ended.message)
    yield from (notice for notice in changes(observed.subject.status, status) if notice.is_warning)


def _start(observed: ObservedJob) -> Status:
    """The names of what was made, and when the job began."""
    job, latest = observed.subject, observed.latest
    status: Status = {}
    if observed.usable_cluster is not None:
        status["clusterName"] = job.cluster
    if latest is not None:
        status["jobRunnerPodName"] = latest.name
    if not job.has_started and (began := _began(observed)) is not None:
        status["startTime"] = to_time(began)
    return status


def _began(observed: ObservedJob) -> datetime | None:
    """Return when the first pod since the last resumption began; None if none has."""
    latest = observed.latest
    if latest is None or latest.meta.is_deleting:
        return None
    if latest.phase == "Running":
        return observed.now
    created = latest.meta.created or observed.now
    return created if latest.has_ended and created >= observed.subject.active_since(observed.now) else None


def _word(observed: ObservedJob, status: Status) -> JobStatusWord:
    if observed.subject.has_started or "startTime" in status:
        return JobStatusWord.RUNNING
    if observed.usable_cluster is not None:
        return JobStatusWord.CLUSTER_CREATED
    return JobStatusWord.JOB_CREATED


def _progress(observed: ObservedJob) -> Remark:
    latest = observed.latest
    if latest is None or not latest.is_live:
        return Remark("JobStarting", "The job's pod is about to be created.")
    if latest.phase == "Pending":
        return Remark("PodPending", f"The pod {latest.name} is about to start.")
    return Remark("JobRunning", f"The pod {latest.name} is running.")


def _problems(observed: ObservedJob) -> list[Remark]:
    """What keeps the job from its end, if anything does."""
    found = []
    live, count = observed.latest, failures(observed)
    if live is not None and not live.is_live:
        live = None
    if count and (live is None or live.phase == "Running"):
        found.append(Remark("JobRetrying", f"{counted(count)} so far. {last_failure(observed)}"))
    if live is not None:
        command = command_of(observed.subject.raw_spec.get("job"), Component.JOB_RUNNER)
        if problem := problem_of(live, command):
            found.append(problem)
    return found


def _end(ended: Verdict, remarks: list[Remark]) -> tuple[Condition, ...]:
    end = Condition(COMPLETE if ended.is_success else FAILED, True, ended.reason, ended.message)
    if not ended.is_success:
        remarks = [Remark(ended.reason, ended.message, needs_a_person=True), *remarks]
    return (end, *summary(ended.is_success, remarks, end))


def _suspended(job: Job) -> tuple[Condition, ...]:
    """As Kubernetes Jobs do: nothing before the first suspension."""
    if job.is_suspended:
        return (Condition(SUSPENDED, True, "JobSuspended", "spec.suspend is true."),)
    if job.condition(SUSPENDED):
        return (Condition(SUSPENDED, False, "JobResumed", "spec.suspend is false."),)
    return ()
