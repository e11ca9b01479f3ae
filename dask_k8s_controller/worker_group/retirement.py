"""How workers go: chosen, marked, drained, retired by the scheduler, and only then deleted. Pure.

The mark is an annotation on the pod, written before the scheduler is asked to retire anything: a restarted
controller goes on from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from dask_k8s_controller.cache.objects import Pod, moment
from dask_k8s_controller.plans.actions import Ask, Resume, Retire
from dask_k8s_controller.plans.plan import is_past
from dask_k8s_controller.scheduler.answers import Attribution, Problem, Worker, holds_nothing, is_busy
from dask_k8s_controller.worker_group.observe import GroupPlan, ObservedGroup
from dask_k8s_controller.worker_group.scale_down import choose, choose_unstarted
from dask_k8s_models import labels

WORKERS_PER_SECOND = 100
"""A scheduler has so many heartbeats a second, however many workers it has: then each has fewer."""

MOST_NODES = 3
"""So many nodes are named in a remark."""

AT_ONCE = 1
"""Seconds for the end of a pod whose results nobody takes over: it must not wait for somebody who does."""


def plan_shrinking(draft: GroupPlan, surplus: int) -> None:
    """Choose the pods that are too many."""
    observed, active, outdated = draft.observed, draft.observed.active, draft.observed.outdated
    if observed.scheduler is None or observed.keeps_nothing:
        nothing = "no scheduler has anything to lose" if observed.scheduler is None else "no worker stays"
        draft.delete_all(choose(active, surplus, Attribution(), outdated), nothing, grace=AT_ONCE)
        return
    unstarted = choose_unstarted(active, surplus, observed.attribution)
    _delete_idle(draft, unstarted, "it is too many and has not started")
    if surplus > len(unstarted):
        _choose_started(draft, _without(active, unstarted), surplus - len(unstarted))


def plan_rollout(draft: GroupPlan) -> None:
    """Choose the next pods to replace by such of the present template."""
    observed, active = draft.observed, draft.observed.active
    old = [pod for pod in active if pod.meta.uid in observed.outdated]
    unstarted = choose_unstarted(old, len(old), observed.attribution)
    _delete_idle(draft, unstarted, "its template is outdated and it has not started")
    started = _without(old, unstarted)
    may_go = _may_go(observed, {pod.meta.uid for pod in active if pod.is_ready})
    if observed.scheduler is None:
        draft.delete_all(started[:may_go], "its template is outdated")
    elif started and may_go:
        _replace_started(draft, started)


def _without(pods: Sequence[Pod], others: Sequence[Pod]) -> list[Pod]:
    uids = {pod.meta.uid for pod in others}
    return [pod for pod in pods if pod.meta.uid not in uids]


def _may_go(observed: ObservedGroup, serving: set[str]) -> int:
    """Return how many pods may be replaced now if these serve; the only one waits for its successor."""
    replicas, spec = observed.subject.replicas, observed.subject.spec
    if spec is None or (observed.scheduler and replicas == 1 and serving <= observed.outdated):
        return 0
    return max(0, spec.worker.max_unavailable() - (replicas - len(serving)))


def _replace_started(draft: GroupPlan, started: Sequence[Pod]) -> None:
    workers = _known_workers(draft)
    if workers is None:
        return
    # Ready is not enough: until it is a worker of the scheduler's, it can take nobody's results over.
    at_work = {pod.meta.uid for pod in draft.observed.active if pod.is_ready and workers.of(pod)}
    if may_go := _may_go(draft.observed, at_work):
        _choose_started(draft, started, may_go)
    else:
        draft.requeue_after(draft.policy.drain_poll)


def plan_moves(draft: GroupPlan) -> None:
    """Choose workers whose nodes are about to go, as many as have a successor at work."""
    observed, moving = draft.observed, draft.observed.moving
    if not moving:
        return
    nodes = sorted({pod.node for pod in moving})
    named = ", ".join(nodes[:MOST_NODES]) + (", …" if len(nodes) > MOST_NODES else "")
    draft.remark(
        "NodesLeaving",
        f"Workers ({len(moving)}) are on nodes that are about to go ({named}): others take their "
        "place before they leave, where there is room.",
    )
    least = observed.subject.replicas - len(moving)
    ready = [pod for pod in observed.active if pod.is_ready]
    if len(ready) <= least or (workers := _known_workers(draft)) is None:
        return
    # Ready is not enough here, either.
    may_go = sum(bool(workers.of(pod)) for pod in ready) - least
    if may_go > 0:
        _choose_started(draft, moving, may_go)
    else:
        draft.requeue_after(draft.policy.drain_poll)


def _choose_started(draft: GroupPlan, candidates: Sequence[Pod], count: int) -> None:
    """Delete pods that are no workers of the scheduler's, mark those that are."""
    observed, policy, workers = draft.observed, draft.policy, _known_workers(draft)
    if workers is None:
        return
    ages = {uid: observed.monotonic - at for uid, at in observed.retirement.refused.items()}
    refused = {uid: policy.refusal_memory - age for uid, age in ages.items() if age < policy.refusal_memory}
    willing = [pod for pod in candidates if pod.meta.uid not in refused]
    if len(willing) < min(count, len(candidates)):
        draft.remark(
            "SchedulerKeepsWorkers",
            "The scheduler would not retire workers that hold results or actors which no other worker can "
            "take over; it is asked again later.",
        )
        draft.requeue_after(min(refused.values()))
    known = [pod for pod in willing if workers.of(pod) or not workers.may_have_workers(pod)]
    if len(known) < min(count, len(willing)):
        _remark_unexplained(draft, workers)
    chosen = choose(known, count, workers, observed.outdated)
    retiring = [pod for pod in chosen if workers.of(pod)]
    _delete_idle(draft, _without(chosen, retiring), "it is no worker of the scheduler's")
    if not _has_recipients(observed, workers, retiring):
        idle = [pod for pod in retiring if holds_nothing(workers.of(pod))]
        if len(idle) < len(retiring):
            draft.remark(
                "NoWorkerToTakeOver",
                "Workers that run tasks or hold results wait for another worker that can take them over.",
            )
            draft.requeue_after(policy.drain_poll)
        retiring = idle
    for pod in retiring:
        draft.patch(pod, {"metadata": {"annotations": {labels.RETIRING: observed.now.isoformat()}}})
    if retiring:
        draft.requeue_after(0)


def _has_recipients(observed: ObservedGroup, workers: Attribution, retiring: Sequence[Pod]) -> bool:
    """Whether the scheduler knows a worker that stays: it takes over what the others hold."""
    leaving = {pod.meta.uid for pod in retiring}
    all_pods = (*observed.cluster_pods, *observed.own_pods)
    leaving |= {pod.meta.uid for pod in all_pods if pod.is_retiring or pod.meta.is_deleting}
    return bool(workers.unexplained) or not workers.by_pod.keys() <= leaving


def _remark_unexplained(draft: GroupPlan, workers: Attribution) -> None:
    example = workers.unexplained[0]
    draft.remark(
        "WorkersNotRecognized",
        f"The scheduler knows workers ({len(workers.unexplained)}) of which it can't be told in which pod "
        f"they run, e.g. {example.name or 'one without a name'} at {example.address}: until they are gone, "
        "pods without a worker of their own are kept. Start workers with --name $(DASK_WORKER_NAME).",
    )
    draft.requeue_after(draft.policy.scheduler_retry)


def plan_retirement(draft: GroupPlan) -> None:
    """Bring the pods that were chosen on their way: drain, retire, delete."""
    observed = draft.observed
    if observed.scheduler is None or observed.keeps_nothing:
        draft.delete_all(observed.marked, "nobody is left to take its results over", grace=AT_ONCE)
        return
    waiting = []
    for pod in observed.marked:
        uid = pod.meta.uid
        # A retired worker may have come back; only if it holds something by now, it is retired once more.
        if uid in observed.retirement.done and holds_nothing(observed.attribution.of(pod)):
            draft.delete(pod, "the scheduler has retired its workers")
        elif observed.retirement.under_way.get(uid) != observed.scheduler.meta.uid:
            waiting.append(pod)
    if waiting and (workers := _known_workers(draft)) is not None:
        _retire(draft, [pod for pod in waiting if _can_be_retired(draft, pod, workers)], workers)


def _can_be_retired(draft: GroupPlan, pod: Pod, workers: Attribution) -> bool:
    observed, policy, of_pod = draft.observed, draft.policy, workers.of(pod)
    if not of_pod:
        if workers.may_have_workers(pod):
            _remark_unexplained(draft, workers)
        else:
            _delete_idle(draft, [pod], "its workers have left the scheduler")
        return False
    refused_at = observed.retirement.refused.get(pod.meta.uid)
    if refused_at is not None and observed.monotonic - refused_at < policy.refusal_memory:
        _give_up(draft, pod, of_pod)
        return False
    drained_at, due = _drained_at(observed, pod), _next_try(draft, pod, of_pod)
    if draft.waits_until(due if _finishes_its_tasks(observed, pod, of_pod) else min(due, drained_at)):
        return False
    # Somebody else asked for it, perhaps an earlier process of ours: let that come to its end.
    is_under_way_elsewhere = any(worker.is_retiring for worker in of_pod)
    if is_under_way_elsewhere and observed.now < drained_at + timedelta(seconds=policy.retire_patience):
        draft.requeue_after(policy.drain_poll)
        return False
    return True


def _next_try(draft: GroupPlan, pod: Pod, of_pod: Sequence[Worker]) -> datetime:
    """When to try to retire a pod's workers, as they may be idle then."""
    observed, policy = draft.observed, draft.policy
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


def _can_drain(workers: Sequence[Worker]) -> bool:
    return all(worker.can_drain for worker in workers)


def _finishes_its_tasks(observed: ObservedGroup, pod: Pod, workers: Sequence[Worker]) -> bool:
    """Whether tasks may take as long as they do: what an autoscaler has taken away nobody waits for."""
    return (
        observed.is_autoscaled and _can_drain(workers) and pod.template_hash == observed.subject.worker_hash
    )


def _give_up(draft: GroupPlan, pod: Pod, of_pod: Sequence[Worker]) -> None:
    """Let a worker that the scheduler keeps work again; take its mark away when it does."""
    drained = tuple(worker.address for worker in of_pod if worker.is_draining)
    if drained:
        draft.ask(Resume(drained))
    else:
        draft.patch(pod, {"metadata": {"annotations": {labels.RETIRING: None}}})


def _retire(draft: GroupPlan, pods: Sequence[Pod], workers: Attribution) -> None:
    observed, failed = draft.observed, draft.observed.retirement.failed
    if failed is not None and failed.problem is Problem.NO_ROUTE:
        idle = [pod for pod in pods if holds_nothing(workers.of(pod))]
        draft.delete_all(idle, "its workers hold nothing")
        pods = _without(pods, idle)
    if not pods:
        return
    if failed is not None:
        draft.remark(failed.problem.value, failed.message, needs_a_person=failed.problem is Problem.NO_ROUTE)
        retry_in = draft.policy.scheduler_retry - failed.age(observed.monotonic)
        if not is_past(retry_in):
            draft.requeue_after(retry_in)
            return
    patient = frozenset(
        pod.meta.uid
        for pod in pods
        if _finishes_its_tasks(observed, pod, workers.of(pod))
        or (_can_drain(workers.of(pod)) and observed.now < _drained_at(observed, pod))
    )
    addresses = {pod.meta.uid: tuple(worker.address for worker in workers.of(pod)) for pod in pods}
    draft.ask(Retire(tuple(addresses.items()), patient))


def _known_workers(draft: GroupPlan) -> Attribution | None:
    """Return the workers by pod, if the scheduler said so just now; else see to it that it will be asked."""
    observed, policy = draft.observed, draft.policy
    scheduler, answer = observed.scheduler, observed.workers
    if scheduler is None or not scheduler.is_ready:
        draft.remark("SchedulerNotReady", "Waiting for the scheduler, which has to retire workers first.")
    elif answer is not None and answer.problem is not Problem.NONE:
        why = f"Workers have to be retired by the scheduler before they go: {answer.message}"
        draft.remark(answer.problem.value, why)
        draft.ask_again(policy.scheduler_retry, Ask.WORKERS, answer)
    elif answer is None or answer.value is None or answer.age(observed.monotonic) > policy.answer_age:
        draft.ask(Ask.WORKERS)
    else:
        return observed.attribution
    return None


def _drained_at(observed: ObservedGroup, pod: Pod) -> datetime:
    """When a pod's workers have had the time that they are given for finishing their tasks."""
    timeout = observed.subject.spec.worker.drainTimeoutSeconds if observed.subject.spec else 0
    return _marked_at(pod, observed.now) + timedelta(seconds=timeout)


def _marked_at(pod: Pod, now: datetime) -> datetime:
    try:
        marked_at = moment(pod.meta.annotations.get(labels.RETIRING)) or now
    except ValueError:
        return now
    return min(marked_at, now) if marked_at.tzinfo else now


def _delete_idle(draft: GroupPlan, pods: Sequence[Pod], why: str) -> None:
    """Delete pods without a worker; where that is so as none can run, unless the pod has changed since."""
    for pod in pods:
        draft.delete(pod, why, version=pod.meta.version if pod.runs_nothing else "")
