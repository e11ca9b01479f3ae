"""How workers go: chosen, marked, drained, retired by the scheduler, and only then deleted. Pure.

The mark is an annotation on the pod, written before the scheduler is asked to retire anything: a restarted
controller goes on from it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from dask_k8s_controller.cache.objects import Pod, moment
from dask_k8s_controller.plans.actions import (
    AskWorkers,
    Delete,
    Draft,
    Patch,
    Resume,
    Retire,
    is_past,
)
from dask_k8s_controller.plans.ownership import delete
from dask_k8s_controller.scheduler.answers import Attribution, Problem, Worker
from dask_k8s_controller.settings import Policy
from dask_k8s_controller.worker_group.observe import ObservedGroup
from dask_k8s_controller.worker_group.scale_down import choose, choose_unstarted, holds_nothing, is_busy
from dask_k8s_models import labels

WORKERS_PER_SECOND = 100
"""A scheduler has so many heartbeats a second, however many workers it has: then each has fewer."""

AT_ONCE = 1
"""Seconds for the end of a pod whose results nobody takes over: it must not wait for somebody who does."""


def plan_shrinking(
    draft: Draft,
    observed: ObservedGroup,
    policy: Policy,
    active: Sequence[Pod],
    surplus: int,
    outdated: Collection[str],
) -> bool:
    """Choose the pods that are too many.

    Returns
    -------
    bool
        Whether what the group's workers hold is to be kept: see `_is_kept`.
    """
    is_kept = surplus < len(active) or _is_kept(observed)
    if observed.scheduler is None or not is_kept:
        nothing = "no scheduler has anything to lose" if observed.scheduler is None else "no worker stays"
        for pod in choose(active, surplus, Attribution(), outdated).at_once:
            draft.actions.append(delete(pod, nothing, grace=AT_ONCE))
        return is_kept
    unstarted = choose_unstarted(active, surplus, observed.attribution)
    for pod in unstarted:
        draft.actions.append(_delete_idle(pod, "it is too many and has not started"))
    if surplus > len(unstarted):
        chosen = {pod.meta.uid for pod in unstarted}
        rest = [pod for pod in active if pod.meta.uid not in chosen]
        _choose_started(draft, observed, policy, rest, surplus - len(unstarted), outdated)
    return is_kept


def _is_kept(observed: ObservedGroup) -> bool:
    """Whether results have to be kept though the group has no workers any more.

    Another group takes them over, even if its workers are yet to come. An autoscaler goes to zero as it saw
    no results a moment ago: if there are any by now, the scheduler refuses.
    """
    return observed.others_remain or observed.is_autoscaled


def plan_rollout(
    draft: Draft, observed: ObservedGroup, policy: Policy, active: Sequence[Pod], outdated: Collection[str]
) -> bool:
    """Choose the next pods to replace by such of the present template.

    Returns
    -------
    bool
        Whether what the group's workers hold is to be kept: see `_is_kept`.
    """
    is_kept = bool(active) or _is_kept(observed)
    spec = observed.group.spec
    if not outdated or spec is None:
        return is_kept
    old = [pod for pod in active if pod.meta.uid in outdated]
    unstarted = choose_unstarted(old, len(old), observed.attribution)
    for pod in unstarted:
        draft.actions.append(_delete_idle(pod, "its template is outdated and it has not started"))
    started = [pod for pod in old if pod not in unstarted]
    ready = [pod for pod in active if pod.is_ready]
    may_go = spec.worker.max_unavailable() - (observed.group.replicas - len(ready))
    is_alone = observed.group.replicas == 1 and not any(pod.meta.uid not in outdated for pod in ready)
    if observed.scheduler is None:
        for pod in started[: max(may_go, 0)]:
            draft.actions.append(delete(pod, "its template is outdated"))
    elif started and may_go > 0 and not is_alone:
        _replace_started(draft, observed, policy, active, started, outdated)
    return is_kept


def _replace_started(
    draft: Draft,
    observed: ObservedGroup,
    policy: Policy,
    active: Sequence[Pod],
    started: Sequence[Pod],
    outdated: Collection[str],
) -> None:
    workers = _known_workers(draft, observed, policy)
    spec = observed.group.spec
    if workers is None or spec is None:
        return
    # Ready is not enough: until it is a worker of the scheduler's, it can take nobody's results over.
    at_work = {pod.meta.uid for pod in active if pod.is_ready and workers.of(pod)}
    may_go = spec.worker.max_unavailable() - (observed.group.replicas - len(at_work))
    is_alone = observed.group.replicas == 1 and at_work <= set(outdated)
    if may_go > 0 and not is_alone:
        _choose_started(draft, observed, policy, started, may_go, outdated)
    else:
        draft.requeue_after(policy.drain_poll)


def _choose_started(
    draft: Draft,
    observed: ObservedGroup,
    policy: Policy,
    candidates: Sequence[Pod],
    count: int,
    outdated: Collection[str],
) -> None:
    """Delete pods that are no workers of the scheduler's, mark those that are."""
    workers = _known_workers(draft, observed, policy)
    if workers is None:
        return
    refused = {
        uid: policy.refusal_memory - age
        for uid in observed.retirement.refused
        if (age := _refused_for(observed, uid)) is not None and age < policy.refusal_memory
    }
    willing = [pod for pod in candidates if pod.meta.uid not in refused]
    if len(willing) < min(count, len(candidates)) and refused:
        draft.remark(
            "SchedulerKeepsWorkers",
            "The scheduler would not retire workers that hold results or actors which no other worker can "
            "take over; it is asked again later.",
        )
        draft.requeue_after(min(refused.values()))
    known = [pod for pod in willing if workers.of(pod) or not workers.may_have_workers(pod)]
    if len(known) < min(count, len(willing)):
        _remark_unexplained(draft, policy, workers)
    choice = choose(known, count, workers, outdated)
    for pod in choice.at_once:
        draft.actions.append(_delete_idle(pod, "it is no worker of the scheduler's"))
    going = choice.to_retire
    if not _has_heirs(observed, workers, going):
        going = tuple(pod for pod in going if holds_nothing(workers.of(pod)))
        if len(going) < len(choice.to_retire):
            draft.remark(
                "NoWorkerToTakeOver",
                "Workers that run tasks or hold results wait for another worker that can take them over.",
            )
            draft.requeue_after(policy.drain_poll)
    for pod in going:
        mark = {"metadata": {"annotations": {labels.RETIRING: observed.now.isoformat()}}}
        draft.actions.append(Patch("Pod", pod.name, pod.meta.uid, mark))
    if going:
        draft.requeue_after(0)


def _has_heirs(observed: ObservedGroup, workers: Attribution, going: Sequence[Pod]) -> bool:
    """Whether the scheduler knows a worker that stays: it takes over what the others hold."""
    leaving = {pod.meta.uid for pod in going}
    leaving |= {pod.meta.uid for pod in (*observed.cluster_pods, *observed.own_pods) if pod.is_retiring}
    return bool(workers.unexplained) or not workers.by_pod.keys() <= leaving


def _remark_unexplained(draft: Draft, policy: Policy, workers: Attribution) -> None:
    example = workers.unexplained[0]
    draft.remark(
        "WorkersNotRecognized",
        f"The scheduler knows workers ({len(workers.unexplained)}) of which it can't be told in which pod "
        f"they run, e.g. {example.name or 'one without a name'} at {example.address}: until they are gone, "
        "pods without a worker of their own are kept. Start workers with --name $(DASK_WORKER_NAME).",
    )
    draft.requeue_after(policy.scheduler_retry)


def plan_retirement(
    draft: Draft, observed: ObservedGroup, policy: Policy, marked: Sequence[Pod], *, nobody_stays: bool
) -> None:
    """Bring the pods that were chosen on their way: drain, retire, delete."""
    if observed.scheduler is None or nobody_stays:
        for pod in marked:
            draft.actions.append(delete(pod, "nobody is left to take its results over", grace=AT_ONCE))
        return
    waiting = []
    at_hand = observed.attribution
    for pod in marked:
        uid = pod.meta.uid
        # A retired worker may have come back; only if it holds something by now, it is retired once more.
        if uid in observed.retirement.done and holds_nothing(at_hand.of(pod)):
            draft.actions.append(delete(pod, "the scheduler has retired its workers"))
        elif observed.retirement.under_way.get(uid) != observed.scheduler.meta.uid:
            waiting.append(pod)
    if not waiting:
        return
    workers = _known_workers(draft, observed, policy)
    if workers is not None:
        ready_to_retire = [pod for pod in waiting if _can_be_retired(draft, observed, policy, pod, workers)]
        if ready_to_retire:
            _retire(draft, observed, policy, ready_to_retire, workers)


def _can_be_retired(
    draft: Draft, observed: ObservedGroup, policy: Policy, pod: Pod, workers: Attribution
) -> bool:
    of_pod = workers.of(pod)
    if not of_pod:
        if workers.may_have_workers(pod):
            _remark_unexplained(draft, policy, workers)
        else:
            draft.actions.append(_delete_idle(pod, "its workers have left the scheduler"))
        return False
    refused_for = _refused_for(observed, pod.meta.uid)
    if refused_for is not None and refused_for < policy.refusal_memory:
        _give_up(draft, pod, of_pod)
        return False
    drained_at = _marked_at(pod, observed.now) + timedelta(seconds=_drain_timeout(observed))
    due = min(_next_try(observed, policy, pod, of_pod), drained_at)
    if due > observed.now:
        draft.requeue_no_later_than(due)
        return False
    # Somebody else asked for it, perhaps an earlier process of ours: let that come to its end.
    is_under_way_elsewhere = any(worker.is_retiring for worker in of_pod)
    if is_under_way_elsewhere and observed.now < drained_at + timedelta(seconds=policy.retire_patience):
        draft.requeue_after(policy.drain_poll)
        return False
    return True


def _next_try(observed: ObservedGroup, policy: Policy, pod: Pod, of_pod: Sequence[Worker]) -> datetime:
    """When to try to retire a pod's workers, as they may be idle then."""
    wait = timedelta(seconds=policy.drain_poll)
    if _can_drain(of_pod):
        # At each try they are drained, and retired if they are idle then: nothing can come in between.
        tried_at = observed.retirement.busy.get(pod.meta.uid)
        if tried_at is None:
            return observed.now
        return observed.now + wait - timedelta(seconds=observed.monotonic - tried_at)
    if is_busy(of_pod):
        return observed.now + wait
    number = len(observed.workers.value or ()) if observed.workers else 0
    heartbeat = max(policy.heartbeat, number / WORKERS_PER_SECOND)
    return _marked_at(pod, observed.now) + timedelta(seconds=heartbeat)


def _refused_for(observed: ObservedGroup, uid: str) -> float | None:
    """Return the seconds since the scheduler would not retire a pod's workers; None if it never did."""
    refused_at = observed.retirement.refused.get(uid)
    return None if refused_at is None else observed.monotonic - refused_at


def _can_drain(workers: Sequence[Worker]) -> bool:
    return all(worker.can_drain for worker in workers)


def _give_up(draft: Draft, pod: Pod, of_pod: Sequence[Worker]) -> None:
    """Let a worker that the scheduler keeps work again; take its mark away when it does."""
    drained = tuple(worker.address for worker in of_pod if worker.is_draining)
    if drained:
        draft.ask(Resume(drained))
        return
    unmark = {"metadata": {"annotations": {labels.RETIRING: None}}}
    draft.actions.append(Patch("Pod", pod.name, pod.meta.uid, unmark))


def _retire(
    draft: Draft, observed: ObservedGroup, policy: Policy, pods: Sequence[Pod], workers: Attribution
) -> None:
    failed = observed.retirement.failed
    retry_in = policy.scheduler_retry - failed.age(observed.monotonic) if failed else 0.0
    if failed is not None and failed.problem is Problem.NO_ROUTE:
        for pod in pods:
            if holds_nothing(workers.of(pod)):
                draft.actions.append(delete(pod, "its workers hold nothing"))
        pods = [pod for pod in pods if not holds_nothing(workers.of(pod))]
    if not pods:
        return
    if failed is not None and failed.problem is not Problem.NONE:
        draft.remark(failed.problem.value, failed.message, needs_a_person=failed.problem is Problem.NO_ROUTE)
    if not is_past(retry_in):
        draft.requeue_after(retry_in)
        return
    timeout = timedelta(seconds=_drain_timeout(observed))
    patient = frozenset(
        pod.meta.uid
        for pod in pods
        if _can_drain(workers.of(pod)) and observed.now < _marked_at(pod, observed.now) + timeout
    )
    addresses = (tuple(worker.address for worker in workers.of(pod)) for pod in pods)
    draft.ask(Retire(tuple(zip((pod.meta.uid for pod in pods), addresses, strict=True)), patient))


def _known_workers(draft: Draft, observed: ObservedGroup, policy: Policy) -> Attribution | None:
    """Return the workers by pod, if the scheduler said so just now; else see to it that it will be asked."""
    scheduler, answer = observed.scheduler, observed.workers
    if scheduler is None or not scheduler.is_ready:
        draft.remark("SchedulerNotReady", "Waiting for the scheduler, which has to retire workers first.")
        return None
    if answer is None:
        draft.ask(AskWorkers())
        return None
    if answer.problem is not Problem.NONE:
        draft.remark(
            answer.problem.value,
            f"Workers have to be retired by the scheduler before they go: {answer.message}",
        )
        draft.ask_after(policy.scheduler_retry - answer.age(observed.monotonic), AskWorkers())
        return None
    if answer.age(observed.monotonic) > policy.answer_age or answer.value is None:
        draft.ask(AskWorkers())
        return None
    return observed.attribution


def _drain_timeout(observed: ObservedGroup) -> int:
    return observed.group.spec.worker.drainTimeoutSeconds if observed.group.spec else 0


def _marked_at(pod: Pod, now: datetime) -> datetime:
    try:
        marked_at = moment(pod.meta.annotations.get(labels.RETIRING)) or now
    except ValueError:
        return now
    return min(marked_at, now) if marked_at.tzinfo else now


def _delete_idle(pod: Pod, why: str) -> Delete:
    """Delete a pod without a worker; if that is so as none can run, unless the pod has changed since."""
    return replace(delete(pod, why), version=pod.meta.version if pod.runs_nothing else "")
