"""What one namespace has under way doesn't hold up another."""

from __future__ import annotations

import asyncio

import pytest

from dask_k8s_controller.kubernetes.slots import Slots, requests_of_one, share


async def hold(slots: Slots, key: str, begun: list[str], until: asyncio.Event) -> None:
    async with slots.of(key):
        begun.append(key)
        await until.wait()


async def test_each_has_its_own_slots_and_nothing_is_remembered_afterwards() -> None:
    slots, begun, until = Slots(2), [], asyncio.Event()
    holding = [asyncio.create_task(hold(slots, key, begun, until)) for key in "aaaaab"]
    await asyncio.sleep(0)
    assert begun == ["a", "a", "b"]
    until.set()
    await asyncio.gather(*holding)
    assert len(begun) == 6
    assert len(slots) == 0


async def test_one_that_is_no_longer_waited_for_is_given_to_the_next() -> None:
    slots, begun, until = Slots(1), [], asyncio.Event()
    first, second, third = (asyncio.create_task(hold(slots, "a", begun, until)) for _ in range(3))
    await asyncio.sleep(0)
    second.cancel()
    until.set()
    await asyncio.gather(first, second, third, return_exceptions=True)
    assert begun == ["a", "a"]
    assert len(slots) == 0


@pytest.mark.parametrize(("total", "of_one"), [(100, 75), (4, 3), (3, 3), (1, 1)])
def test_a_quarter_is_left_for_others(total: int, of_one: int) -> None:
    assert share(total) == of_one


@pytest.mark.parametrize(("total", "of_one"), [(100, 25), (40, 10), (12, 8), (3, 3)])
def test_one_has_a_quarter_of_the_requests_if_that_is_not_few(total: int, of_one: int) -> None:
    assert requests_of_one(total) == of_one
