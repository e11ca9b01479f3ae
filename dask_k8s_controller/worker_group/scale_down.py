"""Which workers go first: a pure choice.

In this order: pods that never became a worker; then idle workers; then those that hold least data; and last
those with results that they alone may hold.
"""

from __future__ import annotations

from collections.abc import Collection

from dask_k8s_controller.cache.objects import Pod
from dask_k8s_controller.scheduler.answers import Attribution, is_busy


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
