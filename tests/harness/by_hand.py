"""The controller by hand: a test says when it looks, when it reconciles, and what the time is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Self

from dask_k8s_controller.kubernetes.connection import Connection, connect
from dask_k8s_controller.kubernetes.resources import NODES, PODS, SERVICES, WATCHED, Key
from dask_k8s_controller.operator import Operator
from dask_k8s_controller.runtime.queue import Requeue
from dask_k8s_controller.settings import Limits, Settings
from dask_k8s_controller.watching.watches import Listing
from dask_k8s_credentials import load
from dask_k8s_local import LocalKubernetes
from dask_k8s_local.api import Request
from dask_k8s_models import labels
from tests.conftest import a_namespace
from tests.harness.clocks import ManualClock
from tests.harness.kube import Kube, Object

SETTINGS = Settings(limits=Limits(attempts=1))
"""What users get, but each request is tried once."""


class ControllerByHand(Operator):
    """A controller of one namespace that neither watches nor has a queue.

    Parameters
    ----------
    kubernetes : LocalKubernetes
        Where the namespace is.
    kube : Kube
        A client for all that others do there.
    namespace : str
        The namespace.
    settings : Settings
        How patient it is.
    clock : ManualClock, optional
        Its time, which begins now: objects that others make carry the true time.
    """

    def __init__(
        self,
        kubernetes: LocalKubernetes,
        kube: Kube,
        namespace: str,
        settings: Settings = SETTINGS,
        clock: ManualClock | None = None,
    ) -> None:
        self.clock: ManualClock = clock or ManualClock(datetime.now(UTC).replace(microsecond=0))
        super().__init__(settings, clock=self.clock)
        self.kubernetes = kubernetes
        self.kube = kube
        self.namespace = namespace

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self.recorder.stop()
        await self.conversations.stop()
        await self.schedulers.close()
        await self.api.close()

    async def log_in(self) -> Connection:
        return connect(await asyncio.to_thread(load, self.kubernetes.kubeconfig))

    def create(self, body: Object, **metadata: Any) -> Object:
        """Create an object of which only the name, beside what is given, and the spec are kept."""
        about = {"name": body["metadata"]["name"], **metadata}
        kept = {key: body[key] for key in ("apiVersion", "kind", "spec")}
        return self.kube.create({**kept, "metadata": about}, self.namespace)

    async def look(self) -> None:
        """Know what watches would have told by now."""
        for resource in WATCHED:
            selector = labels.CLUSTER_NAME if resource in (PODS, SERVICES) else ""
            namespace = None if resource is NODES else self.namespace
            listing = Listing(resource, namespace, selector)
            mark = self.informer.list_begins(listing)
            found = await self.api.list(resource, namespace, selector)
            await self.informer.listed(listing, found["items"], mark)
            uids = {item["metadata"]["uid"] for item in found["items"]}
            self.informer.list_ends(listing, uids, found["metadata"]["resourceVersion"], mark)

    async def reconcile(self, kind: str, name: str) -> Requeue:
        """Reconcile an object once, as it is known."""
        return await self.reconciler.reconcile(self.key(kind, name))

    def key(self, kind: str, name: str) -> Key:
        return Key(kind, self.namespace, name)

    def asks(self, verb: str, resource: str) -> Any:
        """Return what tells the controller's requests of that kind, for faults and logs."""

        def is_asked(request: Request) -> bool:
            plural = request.resource.partition(".")[0]
            is_here = request.namespace == self.namespace and request.user_agent == "dask-k8s-controller"
            return is_here and (request.verb, plural) == (verb, resource)

        return is_asked


@asynccontextmanager
async def a_controller(kubernetes: LocalKubernetes, kube: Kube) -> AsyncIterator[ControllerByHand]:
    """Have a controller in a namespace of its own; faults end with it."""
    with a_namespace(kube) as namespace:
        async with ControllerByHand(kubernetes, kube, namespace) as controller:
            yield controller
        kubernetes.faults.clear()


def owned_by(owner: Object) -> list[Object]:
    """Return the owner references of a child."""
    metadata = owner["metadata"]
    reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": metadata["name"]}
    return [{**reference, "uid": metadata["uid"], "controller": True}]
