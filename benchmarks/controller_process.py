"""The controller as users run it, but one server stands for all schedulers: its URL is in ``SCHEDULERS``.

It is run as a file, so that the controller may be that of another checkout. What cProfile sees of its
processor time goes into the file ``PROFILE``, if that is set.
"""

from __future__ import annotations

import cProfile
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from dask_k8s_controller.__main__ import main
from dask_k8s_controller.scheduler.client import SchedulerClient
from dask_k8s_controller.scheduler.endpoint import Endpoint


@asynccontextmanager
async def way_to(
    client: SchedulerClient, endpoint: Endpoint
) -> AsyncIterator[tuple[Callable[..., Any], str]]:
    base = f"{os.environ['SCHEDULERS']}/{endpoint.namespace}/{endpoint.pod}"
    yield client._anonymous_session().request, base


if __name__ == "__main__":
    SchedulerClient._way_to = way_to  # type: ignore[method-assign]
    profile = cProfile.Profile(time.process_time)
    try:
        if "PROFILE" in os.environ:
            profile.enable()
        main()
    finally:
        if "PROFILE" in os.environ:
            profile.dump_stats(os.environ["PROFILE"])
