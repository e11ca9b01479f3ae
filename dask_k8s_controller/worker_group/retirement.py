"""How workers go: chosen, marked, drained, retired by the scheduler, and only then deleted. Pure.

The mark is an annotation on the pod, written before the scheduler is asked to retire anything: a restarted
controller goes on from it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from dask_k8s_controller.cache.objects import Pod, moment
from dask_k8s_controller.plans.actions import (
    AskWorkers,
    Draft,
    Patch,
    Resume,
    Retire,
)
from dask_k8s_controller.plans.ownership import delete
from dask_k8s_controller.scheduler.answers import Problem, Worker, workers_by_pod
from dask_k8s_controller.settings import Policy
from dask_k8s_controller.worker_group.observe import ObservedGroup
from dask_k8s_controller.worker_group.scale_down import choose, choose_unstarted, holds_nothing, is_busy
from dask_k8s_models import labels

Workers = Mapping[str, Sequence[Worker]]


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
        Whether any active pod stays, of this group or another of the cluster.
    """
    someone_stays = surplus < len(active) or observed.others_remain
    if observed.scheduler is None or not someone_stays:
        nothing = "no scheduler has anything to lose" if observed.scheduler is None else "no worker stays"
        for pod in choose(active, surplus, {}, outdated).at_once:
            draft.actions.append(delete(pod, nothing))
        return someone_stays
    unstarted = choose_unstarted(active, surplus)
    for pod in unstarted:
        draft.actions.append(delete(pod, "it is too many and has not started"))
    if surplus > len(unstarted):
        chosen = {pod.meta.uid for pod in unstarted}
        rest = [pod for pod in active if pod.meta.uid not in chosen]
        _choose_started(draft, observed, policy, rest, surplus - len(unstarted), outdated)
    return someone_stays


def plan_rollout(
    draft: Draft, observed: ObservedGroup, policy: Policy, active: Sequence[Pod], outdated: Collection[str]
) -> bool:
    """Choose the next pods to replace by such of the present template.

    Returns
    -------
    bool
        Whether any active pod stays, of this group or another of the cluster.
    """
    someone_stays = bool(active) or observed.others_remain
    spec = observed.group.spec
    if not outdated or spec is None:
        return someone_stays
    old = [pod for pod in active if pod.meta.uid in outdated]
    unstarted = choose_unstarted(old, len(old))
    for pod in unstarted:
        draft.actions.append(delete(pod, "its template is outdated and it has not started"))
    started = [pod for pod in old if pod not in unstarted]
    ready = [pod for pod in active if pod.is_ready]
    may_go = spec.worker.max_unavailable() - (observed.group.replicas - len(ready))
    is_alone = observed.group.replicas == 1 and not any(pod.meta.uid not in outdated for pod in ready)
    if observed.scheduler is None:
        for pod in started[: max(may_go, 0)]:
            draft.actions.append(delete(pod, "its template is outdated"))
    elif started and may_go > 0 and not is_alone:
        _replace_started(draft, observed, policy, active, started, outdated)
    return someone_stays


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
    at_work = {pod.meta.uid for pod in active if pod.is_ready and pod.meta.uid in workers}
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
        uid: at + timedelta(seconds=policy.refusal_memory)
        for uid, at in observed.retirement.refused.items()
        if at + timedelta(seconds=policy.refusal_memory) > observed.now
    }
    willing = [pod for pod in candidates if pod.meta.uid not in refused]
    if len(willing) < min(count, len(candidates)) and refused:
        draft.remark(
            "SchedulerKeepsWorkers",
            "The scheduler would not retire workers that hold results or actors which no other worker can "
            "take over; it is asked again later.",
        )
        draft.requeue_no_later_than(min(refused.values()))
    choice = choose(willing, count, workers, outdated)
    for pod in choice.at_once:
        draft.actions.append(delete(pod, "it is no worker of the scheduler's"))
    for pod in choice.to_retire:
        mark = {"metadata": {"annotations": {labels.RETIRING: observed.now.isoformat()}}}
        draft.actions.append(Patch("Pod", pod.name, pod.meta.uid, mark))
    if choice.to_retire:
        draft.requeue_after(0)


def plan_retirement(
    draft: Draft, observed: ObservedGroup, policy: Policy, marked: Sequence[Pod], *, nobody_stays: bool
) -> None:
    """Bring the pods that were chosen on their way: drain, retire, delete."""
    if observed.scheduler is None or nobody_stays:
        for pod in marked:
            draft.actions.append(delete(pod, "nobody is left to take its results over"))
        return
    waiting = []
    for pod in marked:
        if pod.meta.uid in observed.retirement.done:
            draft.actions.append(delete(pod, "the scheduler has retired its workers"))
        elif pod.meta.uid not in observed.retirement.under_way:
            waiting.append(pod)
    if not waiting:
        return
    workers = _known_workers(draft, observed, policy)
    if workers is not None:
        ready_to_retire = [pod for pod in waiting if _can_be_retired(draft, observed, policy, pod, workers)]
        if ready_to_retire:
            _retire(draft, observed, policy, ready_to_retire, workers)


def _can_be_retired(
    draft: Draft, observed: ObservedGroup, policy: Policy, pod: Pod, workers: Workers
) -> bool:
    uid = pod.meta.uid
    of_pod = workers.get(uid, ())
    if not of_pod:
        draft.actions.append(delete(pod, "its workers have left the scheduler"))
        return False
    marked_at = _marked_at(pod, observed.now)
    refused_at = observed.retirement.refused.get(uid)
    if refused_at is not None and refused_at >= marked_at:
        _give_up(draft, pod, of_pod)
        return False
    drained_at = marked_at + timedelta(seconds=_drain_timeout(observed))
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
        return tried_at + wait if tried_at else observed.now
    if is_busy(of_pod):
        return observed.now + wait
    return _marked_at(pod, observed.now) + timedelta(seconds=policy.heartbeat)


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
    draft: Draft, observed: ObservedGroup, policy: Policy, pods: Sequence[Pod], workers: Workers
) -> None:
    failed = observed.retirement.failed
    retry_at = failed.at + timedelta(seconds=policy.scheduler_retry) if failed else observed.now
    if failed is not None and failed.problem is Problem.NO_ROUTE:
        for pod in pods:
            if holds_nothing(workers[pod.meta.uid]):
                draft.actions.append(delete(pod, "its workers hold nothing"))
        pods = [pod for pod in pods if not holds_nothing(workers[pod.meta.uid])]
    if not pods:
        return
    if failed is not None and failed.problem is not Problem.NONE:
        draft.remark(failed.problem.value, failed.message, needs_a_person=failed.problem is Problem.NO_ROUTE)
    if retry_at > observed.now:
        draft.requeue_no_later_than(retry_at)
        return
    timeout = timedelta(seconds=_drain_timeout(observed))
    patient = frozenset(
        pod.meta.uid
        for pod in pods
        if _can_drain(workers[pod.meta.uid]) and observed.now < _marked_at(pod, observed.now) + timeout
    )
    addresses = (tuple(worker.address for worker in workers[pod.meta.uid]) for pod in pods)
    draft.ask(Retire(tuple(zip((pod.meta.uid for pod in pods), addresses, strict=True)), patient))


def _known_workers(draft: Draft, observed: ObservedGroup, policy: Policy) -> Workers | None:
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
        retry_at = answer.at + timedelta(seconds=policy.scheduler_retry)
        if retry_at > observed.now:
            draft.requeue_no_later_than(retry_at)
        else:
            draft.ask(AskWorkers())
        return None
    if answer.age(observed.now) > policy.answer_age or answer.value is None:
        draft.ask(AskWorkers())
        return None
    return workers_by_pod(observed.own_pods, answer.value)


def _drain_timeout(observed: ObservedGroup) -> int:
    return observed.group.spec.worker.drainTimeoutSeconds if observed.group.spec else 0


def _marked_at(pod: Pod, now: datetime) -> datetime:
    try:
        marked_at = moment(pod.meta.annotations.get(labels.RETIRING)) or now
    except ValueError:
        return now
    return marked_at if marked_at.tzinfo else now
