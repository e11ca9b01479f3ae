"""A job whose program is a function of this file: it makes a cluster, computes on it, and leaves its log."""

import inspect

from dask_k8s_client import DaskJob, make_job_spec


def estimate_pi():
    """Throw darts at a square, on all workers: the share that falls into the circle is π/4."""
    import random

    from dask.distributed import Client

    def hits(seed, darts):
        throw = random.Random(seed).random
        return sum(throw() ** 2 + throw() ** 2 < 1 for _ in range(darts))

    with Client() as client:  # finds the job's cluster by itself
        counts = client.map(hits, range(20), darts=200_000)
        print("pi is about", 4 * client.submit(sum, counts).result() / 4_000_000)


program = f"{inspect.getsource(estimate_pi)}\nestimate_pi()\n"
job = DaskJob(
    make_job_spec(
        "pi",
        command=["python", "-c", program],
        image="ghcr.io/dask/dask:latest",
        n_workers=2,
        backoff_limit=2,
    )
)
job.create()
print(job.wait_until_finished(timeout=600))
print(job.logs())
job.delete()
