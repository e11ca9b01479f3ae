"""Bounds per namespace, so that what one has under way doesn't hold up another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

LEAST = 8
"""So many requests of one namespace may be under way in any case."""


def share(total: int) -> int:
    """Return how much of a total one namespace may have: a quarter is always left for others."""
    return total - total // 4


def requests_of_one(total: int) -> int:
    """Return how many of so many requests one namespace may have under way: a quarter, if that isn't few.

    What it has under way is what the requests of others wait for in the API server.
    """
    return min(total, max(LEAST, total // 4))


@dataclass
class _Share:
    semaphore: asyncio.Semaphore
    users: int = 0


@dataclass
class Slots:
    """Limits how many calls of each namespace, or other key, are under way at a time; the rest wait.

    Nothing is remembered of a key of which nothing is under way.
    """

    each: int
    """How many calls of a key may be under way."""
    _shares: dict[Hashable, _Share] = field(default_factory=dict, init=False)

    @asynccontextmanager
    async def of(self, key: Hashable) -> AsyncIterator[None]:
        """Hold a slot of that key, as soon as one is free."""
        share = self._shares.setdefault(key, _Share(asyncio.Semaphore(self.each)))
        share.users += 1
        try:
            async with share.semaphore:
                yield
        finally:
            share.users -= 1
            if not share.users:
                del self._shares[key]

    def __len__(self) -> int:
        return len(self._shares)
