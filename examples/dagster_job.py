"""A Dagster job with a Dask cluster as its resource, which starts with the job and ends with it.

It takes `pip install dagster` beside dask-k8s; workers need nothing of it. `dagster dev -f dagster_job.py`
shows the job in a browser.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager

from dagster import ConfigurableResource, Definitions, In, InitResourceContext, OpExecutionContext, job, op
from dask.distributed import Client

from dask_k8s_client import KubeCluster


class Dask(ConfigurableResource):
    """A client of a cluster of the run's own."""

    image: str = "ghcr.io/dask/dask:latest"
    maximum: int = 4

    @contextmanager
    def yield_for_execution(self, context: InitResourceContext) -> Iterator[Client]:
        name = f"run-{(context.run_id or 'local')[:8]}"
        with KubeCluster(name=name, image=self.image, n_workers=2, quiet=True) as cluster:
            cluster.adapt(minimum=1, maximum=self.maximum)
            with cluster.get_client() as client:
                yield client


def hits(seed: int, darts: int) -> int:
    """Return how many darts of a square hit its inscribed circle."""
    generator = random.Random(seed)
    return sum(generator.random() ** 2 + generator.random() ** 2 < 1 for _ in range(darts))


@op(required_resource_keys={"dask"})
def throw(context: OpExecutionContext) -> list[int]:
    client: Client = context.resources.dask
    context.log.info(f"Dask's dashboard is at {client.dashboard_link}")
    return client.gather(client.map(hits, range(8), darts=100_000))


@op(ins={"found": In(list[int])})
def estimate(context: OpExecutionContext, found: list[int]) -> float:
    pi = 4 * sum(found) / (len(found) * 100_000)
    context.log.info(f"pi is about {pi:.2f}")
    return pi


@job
def pi() -> None:
    estimate(throw())


definitions = Definitions(jobs=[pi], resources={"dask": Dask()})


if __name__ == "__main__":
    result = definitions.get_job_def("pi").execute_in_process()
    print(f"pi is about {result.output_for_node('estimate'):.2f}")
