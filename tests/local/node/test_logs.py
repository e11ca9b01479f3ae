"""Logs are kept by run, and come as they are asked for."""

from __future__ import annotations

import pytest

from dask_k8s_local.interfaces import ApiError, LogOptions
from dask_k8s_local.node.times import now, parse_timestamp
from tests.local.node.kit import Cluster, a_pod, container, is_over, state


async def test_lines_can_be_counted_cut_and_dated(cluster: Cluster) -> None:
    await cluster.add_node()
    before = now()
    await cluster.create(a_pod("one", container("seq", "1", "5"), restartPolicy="Never"))
    await cluster.until("one", is_over)
    assert await cluster.log("one") == "1\n2\n3\n4\n5\n"
    assert await cluster.log("one", tail_lines=2) == "4\n5\n"
    assert await cluster.log("one", tail_lines=0) == ""
    assert await cluster.log("one", limit_bytes=5) == "1\n2\n3"
    assert await cluster.log("one", since=now()) == ""
    assert await cluster.log("one", since=before) == "1\n2\n3\n4\n5\n"
    dated = (await cluster.log("one", timestamps=True)).splitlines()
    moment, text = dated[0].split(" ", 1)
    assert text == "1"
    assert before <= parse_timestamp(moment[:26] + "Z") <= now()


async def test_a_line_without_an_end_comes_without_one(cluster: Cluster) -> None:
    await cluster.add_node()
    await cluster.create(a_pod("one", container("printf", "no end"), restartPolicy="Never"))
    await cluster.until("one", is_over)
    assert await cluster.log("one") == "no end"


async def test_long_lines_come_whole(cluster: Cluster) -> None:
    await cluster.add_node()
    script = "print('x' * 100_000); print('end')"
    await cluster.create(a_pod("one", container("python", "-c", script), restartPolicy="Never"))
    await cluster.until("one", is_over)
    assert await cluster.log("one") == "x" * 100_000 + "\nend\n"
    dated = await cluster.log("one", timestamps=True)
    assert dated.count("Z ") == 2


async def test_output_and_errors_come_in_order(cluster: Cluster) -> None:
    await cluster.add_node()
    script = "echo out; echo err >&2; echo out"
    await cluster.create(a_pod("one", container("sh", "-c", script), restartPolicy="Never"))
    await cluster.until("one", is_over)
    assert await cluster.log("one") == "out\nerr\nout\n"


async def test_missing_logs_are_refused_in_kubelet_s_words(cluster: Cluster) -> None:
    agent = await cluster.add_node(failing_images=("broken/*",))
    await cluster.create(a_pod("one", container("true", image="broken/image")))
    pod = await cluster.until("one", lambda pod: "waiting" in state(pod))

    async def refusal(options: LogOptions) -> tuple[int, str]:
        with pytest.raises(ApiError) as refused:
            async for _ in agent.logs(pod, options):
                pass
        return refused.value.code, refused.value.message

    code, message = await refusal(LogOptions("main"))
    assert code == 400
    assert message.startswith('container "main" in pod "one" is waiting to start: ')
    assert await refusal(LogOptions("other")) == (400, "container other is not valid for pod one")
    assert await refusal(LogOptions("main", previous=True)) == (
        400,
        'previous terminated container "main" in pod "one" not found',
    )


async def test_a_log_that_is_too_long_is_rotated_and_still_read(cluster: Cluster) -> None:
    await cluster.add_node()
    script = "for number in range(150_000): print(f'{number:099}')"
    await cluster.create(a_pod("one", container("python", "-c", script), restartPolicy="Never"))
    await cluster.until("one", is_over)
    lines = (await cluster.log("one")).splitlines()
    assert int(lines[-1]) == 149_999
    numbers = [int(line) for line in lines]
    assert numbers == list(range(numbers[0], 150_000))
    files = list(cluster.directory.rglob("main-0.log*"))
    assert sum(file.stat().st_size for file in files) <= 21 * 1024 * 1024
