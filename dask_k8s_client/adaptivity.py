"""What `KubeCluster.adapt` returns."""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from typing import Any


class Adaptivity:
    """The bounds between which the operator scales; in asynchronous use it can be awaited.

    Dask's JupyterLab extension reads the bounds and never awaits.

    Attributes
    ----------
    minimum : int
        Least number of workers.
    maximum : int or None
        Greatest number of workers, None if unbounded.
    """

    def __init__(self, minimum: int, maximum: int | None, effect: Awaitable[Any] | None = None) -> None:
        self.minimum = minimum
        self.maximum = maximum
        self._effect = effect

    def __await__(self) -> Generator[Any, Any, Adaptivity]:
        if self._effect is not None:
            yield from self._effect.__await__()
        return self

    def __repr__(self) -> str:
        maximum = "unbounded" if self.maximum is None else self.maximum
        return f"Adaptivity(minimum={self.minimum}, maximum={maximum})"
