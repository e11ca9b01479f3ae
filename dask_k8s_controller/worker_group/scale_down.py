"""Which workers go first: a pure choice.

In this order: pods that never became a worker; then idle workers; then those that hold least data; and last
those with results that they alone may hold.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from dask_k8s_controller.cache.objects import Pod
from dask_k8s_controller.scheduler.answers import Attribution, Worker


def is_busy(workers: Sequence[Worker]) -> bool:
    """Whether any of a pod's workers runs tasks, as far as is known."""
    return any(worker.is_busy for worker in workers)


def holds_nothing(workers: Sequence[Worker]) -> bool:
    """Whether a pod's workers are known to neither run tasks nor hold results."""
    return all(worker.holds_nothing for worker in workers)


def choose(
    candidates: Collection[Pod],
    count: int,
    workers: Attribution,
    outdated: Collection[str] = frozenset(),
) -> list[Pod]:
    """Choose ``count`` of the candidates: live pods of one group that have not been chosen yet.

    Among equals those go first that are outdated, by their uids.
    """

    def order(pod: Pod) -> tuple[bool, bool, bool, bool, int, int, str, str]:
        of_pod = workers.of(pod)
        return (
            bool(of_pod),
            any(worker.bound for worker in of_pod),
            is_busy(of_pod),
            pod.meta.uid not in outdated,
            sum(worker.nbytes or 0 for worker in of_pod),
            sum(worker.keys or 0 for worker in of_pod),
            # The youngest of equals: it has had the least time to become useful.
            _newest_first(pod),
            pod.name,
        )

    return sorted(candidates, key=order)[:count]


def choose_unstarted(candidates: Collection[Pod], count: int, workers: Attribution) -> tuple[Pod, ...]:
    """Choose up to ``count`` of the candidates that can't hold anything, whatever the scheduler says."""
    unstarted = [
        pod for pod in candidates if pod.phase == "Pending" and pod.runs_nothing and not workers.of(pod)
    ]
    return tuple(sorted(unstarted, key=lambda pod: (_newest_first(pod), pod.name))[:count])


def _newest_first(pod: Pod) -> str:
    created = pod.meta.created.timestamp() if pod.meta.created else 0.0
    return f"{10**12 - created:020.3f}"
