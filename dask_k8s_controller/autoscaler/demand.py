"""How many workers schedulers could use: asked in the background, remembered for the plans."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from dask_k8s_controller.kubernetes.errors import NoSuchRoute, SchedulerError, Unreachable
from dask_k8s_controller.kubernetes.resources import Key
from dask_k8s_controller.runtime.clock import Clock
from dask_k8s_controller.scheduler.answers import Answer, Problem
from dask_k8s_controller.scheduler.client import Endpoint


class AdaptiveScheduler(Protocol):
    """Who can be asked how many workers a scheduler could use."""

    async def adaptive_target(self, endpoint: Endpoint) -> int: ...


class Demands:
    """Asks schedulers how many workers they could use, and remembers their answers.

    Parameters
    ----------
    schedulers : AdaptiveScheduler
        Speaks with them.
    clock : Clock
        Time.
    on_answer : callable
        Told the key of the object that an answer is for.
    """

    def __init__(self, schedulers: AdaptiveScheduler, clock: Clock, on_answer: Callable[[Key], None]) -> None:
        self._schedulers = schedulers
        self._clock = clock
        self._on_answer = on_answer
        self._answers: dict[str, Answer[int]] = {}
        self._waiting: dict[str, set[Key]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def demand(self, scheduler_uid: str) -> Answer[int] | None:
        """Return what the scheduler said last."""
        return self._answers.get(scheduler_uid)

    def ask(self, endpoint: Endpoint, key: Key) -> None:
        """Ask in the background, unless it is being asked already; the object gets a turn with the answer."""
        if endpoint.uid in self._waiting:
            self._waiting[endpoint.uid].add(key)
            return
        self._waiting[endpoint.uid] = {key}
        task = asyncio.create_task(self._ask(endpoint))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def forget(self, scheduler_uid: str) -> None:
        """Drop what is remembered of a scheduler's pod that is gone."""
        self._answers.pop(scheduler_uid, None)

    async def stop(self) -> None:
        """Ask no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _ask(self, endpoint: Endpoint) -> None:
        try:
            self._answers[endpoint.uid] = await self._answer(endpoint)
        finally:
            for interested in self._waiting.pop(endpoint.uid):
                self._on_answer(interested)

    async def _answer(self, endpoint: Endpoint) -> Answer[int]:
        try:
            value = await self._schedulers.adaptive_target(endpoint)
        except NoSuchRoute as error:
            problem, message = Problem.NO_ROUTE, str(error)
        except Unreachable as error:
            problem, message = Problem.UNREACHABLE, str(error)
        except SchedulerError as error:
            problem, message = Problem.BAD_ANSWER, str(error)
        else:
            return Answer(self._clock.now(), value)
        return Answer(self._clock.now(), None, problem, message)
