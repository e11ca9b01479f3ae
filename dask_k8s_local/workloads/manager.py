"""All controllers, started and stopped together."""

from __future__ import annotations

import asyncio

from dask_k8s_local.interfaces import Api
from dask_k8s_local.workloads.budgets import BudgetController
from dask_k8s_local.workloads.deployments import DeploymentController
from dask_k8s_local.workloads.endpoints import EndpointsController
from dask_k8s_local.workloads.events import EventTtl
from dask_k8s_local.workloads.namespaces import NamespaceContents
from dask_k8s_local.workloads.queue import Controller
from dask_k8s_local.workloads.quotas import QuotaController
from dask_k8s_local.workloads.replicasets import ReplicaSetController


class ControllerManager:
    """Runs the controllers in the current event loop.

    Parameters
    ----------
    api : Api
        The API server.
    ca_pem : bytes
        The certificate authority of the API server, for the namespaces' ConfigMaps.
    """

    def __init__(self, api: Api, ca_pem: bytes) -> None:
        self._controllers: list[Controller] = [
            BudgetController(api),
            DeploymentController(api),
            EndpointsController(api),
            EventTtl(api),
            NamespaceContents(api, ca_pem),
            QuotaController(api),
            ReplicaSetController(api),
        ]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(one.run(), name=type(one).__name__) for one in self._controllers]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
