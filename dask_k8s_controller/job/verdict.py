"""How a job ended: a chain of checks, the first that finds something decides. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from dask_k8s_controller.cache.objects import Pod
from dask_k8s_controller.job.observe import ObservedJob, failures, has_lost_scheduler
from dask_k8s_controller.job.spec import COMPLETE, FAILED

LONGEST_LOG = 800
"""Characters of a container's last words that fit into a condition's message."""


@dataclass(frozen=True)
class Verdict:
    """Whether a job is complete or has failed, why, for the condition, and when it ended."""

    is_success: bool
    reason: str
    message: str
    at: datetime


def verdict(observed: ObservedJob) -> Verdict | None:
    """Return how the job has ended, as it was written down if it was; None while it hasn't."""
    job = observed.subject
    if job.has_finished:
        kind = COMPLETE if job.was_successful else FAILED
        end, at = job.condition(kind), job.ended or observed.now
        return Verdict(job.was_successful, end.get("reason") or kind, end.get("message") or "", at)
    if job.spec is None:
        return None
    return _completed(observed) or _too_many_failures(observed) or _too_late(observed)


def deadline(observed: ObservedJob) -> datetime | None:
    """Return when the job has to be over."""
    spec = observed.subject.spec
    if spec is None or spec.activeDeadlineSeconds is None or spec.suspend:
        return None
    return observed.subject.active_since(observed.now) + timedelta(seconds=spec.activeDeadlineSeconds)


def _completed(observed: ObservedJob) -> Verdict | None:
    for pod in observed.own_pods:
        # One that is being deleted may merely have obeyed.
        if pod.phase == "Succeeded" and not pod.meta.is_deleting:
            return Verdict(True, "Completed", f"The pod {pod.name} has succeeded.", pod.ended or observed.now)
    return None


def _too_many_failures(observed: ObservedJob) -> Verdict | None:
    job, count = observed.subject, failures(observed)
    limit = job.backoff_limit
    pod = observed.latest
    if pod is not None and pod.phase == "Failed" and pod.reason == "DeadlineExceeded" and limit is None:
        limit = 0  # The pod's own deadline: no other pod would do better.
    if limit is None or count <= limit:
        return None
    is_asked_for = job.raw_spec.get("backoffLimit") is not None
    what = f"{counted(count)}, and spec.backoffLimit is {limit}. " if is_asked_for else ""
    ended = pod.ended if pod is not None and pod.has_ended else None
    return Verdict(
        False,
        "BackoffLimitExceeded" if is_asked_for else "PodFailed",
        what + last_failure(observed),
        ended or observed.now,
    )


def _too_late(observed: ObservedJob) -> Verdict | None:
    due = deadline(observed)
    if due is None or due > observed.now or observed.subject.spec is None:
        return None
    seconds = observed.subject.spec.activeDeadlineSeconds
    message = f"The job has been active for longer than spec.activeDeadlineSeconds: {seconds} s."
    return Verdict(False, "DeadlineExceeded", message, observed.now)


def counted(failures: int) -> str:
    """Tell how many failures there were."""
    return "1 failure" if failures == 1 else f"{failures} failures"


def last_failure(observed: ObservedJob) -> str:
    """Tell what is known of the latest failure: exit code and last words."""
    pod = observed.latest
    if pod is None or (pod.phase != "Failed" and pod.meta.is_deleting):
        return f"The pod of attempt {observed.attempts} is gone."
    if has_lost_scheduler(observed, pod):
        return f"The pod {pod.name} has lost its scheduler."
    return f"The pod {pod.name} {_how_it_ended(pod)}"


def _how_it_ended(pod: Pod) -> str:
    for container in pod.containers:
        if container.exit_code:
            why = f" ({container.exit_reason})" if container.exit_reason not in ("", "Error") else ""
            words = container.exit_message.strip()[-LONGEST_LOG:]
            said = f": {words}" if words else "."
            code = container.exit_code
            return f"failed: its container {container.name} ended with exit code {code}{why}{said}"
    reason = f" ({pod.reason})" if pod.reason else ""
    return f"failed{reason}: {pod.message}" if pod.message else f"failed{reason}."
