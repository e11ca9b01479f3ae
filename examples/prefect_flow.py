"""A Prefect flow whose tasks run on a Dask cluster, which starts with the flow and ends with it.

It takes `pip install prefect-dask` beside dask-k8s, and an image of scheduler and workers that has
prefect-dask too, with the same versions. Workers tell Prefect's server of their tasks: `PREFECT_API_URL` has
to lead there from pods, too; a server that a flow starts by itself on this machine won't do.
"""

from __future__ import annotations

import random

from prefect import flow, task
from prefect_dask import DaskTaskRunner, get_dask_client

from dask_k8s_client import KubeCluster

cluster = DaskTaskRunner(
    cluster_class=KubeCluster,
    cluster_kwargs={"name": "flow", "n_workers": 2, "image": "ghcr.io/dask/dask:latest"},
    adapt_kwargs={"minimum": 1, "maximum": 4},
)


def hits(seed: int, darts: int) -> int:
    """Return how many darts of a square hit its inscribed circle."""
    generator = random.Random(seed)
    return sum(generator.random() ** 2 + generator.random() ** 2 < 1 for _ in range(darts))


@task
def throw(seed: int, darts: int) -> int:
    return hits(seed, darts)


@task
def throw_from_all_workers(darts: int) -> int:
    """A task of Prefect's that is a whole computation of Dask's, on the same cluster."""
    with get_dask_client() as client:
        return sum(client.gather(client.map(hits, range(100, 104), darts=darts)))


@flow(task_runner=cluster)
def pi(darts: int = 100_000) -> float:
    some = throw.map(range(4), darts)
    others = throw_from_all_workers.submit(darts)
    return 4 * (sum(some.result()) + others.result()) / (8 * darts)


if __name__ == "__main__":
    print(f"pi is about {pi():.2f}")
