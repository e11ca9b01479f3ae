"""Our errors as kr8s raises them, so that its own code and its users' ``except`` clauses know them.

kr8s turns a missing object into its ``NotFoundError``, catches that in `wait`, and lets a log that is
followed end at an `httpx.ReadTimeout`. What `Api.call_api` raises is therefore one of our errors and one of
kr8s's at once.
"""

from __future__ import annotations

import functools
from typing import Any

import httpx
import kr8s

from dask_k8s_client.errors import ApiError, NotFoundError, UnreachableError


class TimedOutError(UnreachableError, kr8s.APITimeoutError, httpx.ReadTimeout):
    """The API server said nothing for too long."""

    def __init__(self, message: str) -> None:
        httpx.ReadTimeout.__init__(self, message)


def known_to_kr8s(error: ApiError) -> ApiError:
    """Return the error as one that is also kr8s's ``ServerError``, or its ``NotFoundError``."""
    twin: ApiError = _twin(type(error))(  # type: ignore[arg-type]
        str(error), error.code, error.reason, error.details
    )
    return twin


@functools.cache
def _twin(kind: type[ApiError]) -> type[ApiError]:
    bases: tuple[type, ...] = (kind, kr8s.ServerError)
    if issubclass(kind, NotFoundError):
        bases = (kind, kr8s.NotFoundError, kr8s.ServerError)

    def reduce(self: ApiError) -> Any:
        return kind, (str(self), self.code, self.reason, self.details)

    # kr8s looks at these two; without a response it raises the error as it is.
    content = {"status": None, "response": None, "__reduce__": reduce, "__doc__": kind.__doc__}
    return type(kind.__name__, bases, {**content, "__module__": kind.__module__})
