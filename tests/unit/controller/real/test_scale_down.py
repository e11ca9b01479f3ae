"""Real workers go under load: nothing is lost, nothing is run twice."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from distributed import Client, Future, wait

from tests.unit.controller.real.conftest import RealCluster


def note_and_work(number: int, seconds: float, log: str) -> int:
    """Note the execution, then work."""
    import time

    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{number}\n".encode())
    os.close(file)
    time.sleep(seconds)
    return number


def executions(log: Path) -> Counter[str]:
    return Counter(log.read_text().split())


def shrink_under_load(cluster: RealCluster, client: Client, log: Path, count: int, seconds: float) -> None:
    """Scale from 4 to 1 while tasks run and results are held."""
    cluster.scale(4)
    cluster.wait_for(4)
    client.wait_for_workers(4, timeout=60)
    log.write_text("")
    held: list[Future] = client.map(lambda number: bytes(100_000 + number), range(40), pure=False)
    wait(held, timeout=60)
    load = [client.submit(note_and_work, number, seconds, str(log), pure=False) for number in range(count)]

    cluster.scale(1)
    took = cluster.wait_for(1)

    assert client.gather(load) == list(range(count))
    assert [len(result) for result in client.gather(held)] == [100_000 + number for number in range(40)]
    assert executions(log) == Counter({str(number): 1 for number in range(count)})
    print(f"from 4 workers to 1 in {took:.1f} s")


def test_no_task_runs_twice_and_no_result_is_lost(
    real_cluster: Callable[..., RealCluster], tmp_path: Path
) -> None:
    cluster = real_cluster(4)
    with cluster.connect() as client:
        shrink_under_load(cluster, client, tmp_path / "log", count=40, seconds=0.3)
        shrink_under_load(cluster, client, tmp_path / "log", count=2, seconds=3)


@pytest.mark.full
@pytest.mark.timeout(900)
def test_twenty_times_in_a_row(real_cluster: Callable[..., RealCluster], tmp_path: Path) -> None:
    cluster = real_cluster(4)
    with cluster.connect() as client:
        for _ in range(20):
            shrink_under_load(cluster, client, tmp_path / "log", count=40, seconds=0.4)
