"""What can go wrong at the controller's edges, and what to do about it.

::

    ControllerError
    ├── ApiError            the API server's answer, or none
    │   ├── Refused         a person must act: invalid, forbidden, quota, admission
    │   │   └── NameTaken   somebody else's object is called so
    │   ├── Conflict        the object changed meanwhile: observe it anew
    │   └── Unavailable     retry: overloaded, failing, out of reach; the fate of a write is unknown
    └── SchedulerError      a Dask scheduler's answer, or none
        ├── Unreachable     retry
        ├── NoSuchRoute     its HTTP routes lack what we need
        └── BadAnswer       too big, too slow, malformed, or of a wrong type
"""

from __future__ import annotations


class ControllerError(Exception):
    """Base of all errors of the controller."""


class ApiError(ControllerError):
    """The API server did not do what it was asked to: its message says why, or what befell the connection.

    Without an answer the HTTP status code is 0. The reason is Kubernetes' word, e.g. ``AlreadyExists``.
    """

    def __init__(
        self, message: str, code: int = 0, reason: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.retry_after = retry_after


class Refused(ApiError):
    """The API server won't do it until a person changes something."""


class NameTaken(Refused):
    """The name belongs to an object that isn't ours, which is left alone."""


class Conflict(ApiError):
    """The object has changed, or is another one, since it was looked at."""


class Unavailable(ApiError):
    """No answer, or one that says to try again; a write may or may not have taken effect."""


class SchedulerError(ControllerError):
    """A Dask scheduler did not answer a question as it should."""


class Unreachable(SchedulerError):
    """The scheduler can't be reached, or does not answer in time."""


class NoSuchRoute(SchedulerError):
    """The scheduler doesn't serve the route."""


class BadAnswer(SchedulerError):
    """The scheduler's answer is too big, malformed or not what was asked for."""
