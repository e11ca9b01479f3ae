"""What Kubernetes currently says about one Dask cluster, and a way to wait until it says something else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dask_k8s_client import pods
from dask_k8s_client.errors import KubeClusterError
from dask_k8s_client.resources import CLUSTERS, EVENTS, GROUPS, PODS, SERVICES
from dask_k8s_client.watch import Informer
from dask_k8s_models import labels, names

if TYPE_CHECKING:
    from dask_k8s_client.api import Api

Json = dict[str, Any]


@dataclass(frozen=True)
class Observed:
    """A cluster as Kubernetes tells it; pure functions decide upon it.

    Attributes
    ----------
    name : str
        The cluster's name.
    cluster : dict or None
        The DaskCluster, None if it doesn't exist.
    pods : dict
        All pods of the cluster by name.
    groups : dict
        The cluster's worker groups by full name.
    service : dict or None
        The scheduler's Service.
    events : dict
        Events about the cluster's objects since we look, by name.
    refusals : dict
        What we may not see, and why: cluster, pods, groups, service, events.
    """

    name: str
    cluster: Json | None = None
    pods: dict[str, Json] = field(default_factory=dict)
    groups: dict[str, Json] = field(default_factory=dict)
    service: Json | None = None
    events: dict[str, Json] = field(default_factory=dict)
    refusals: dict[str, KubeClusterError] = field(default_factory=dict)

    @property
    def status(self) -> Json:
        """The DaskCluster's status."""
        return (self.cluster or {}).get("status") or {}

    @property
    def phase(self) -> str:
        """The DaskCluster's phase, empty if no controller has seen it yet."""
        return str(self.status.get("phase") or "")

    @property
    def scheduler(self) -> Json | None:
        """The scheduler's pod, see `pods.scheduler`."""
        return pods.scheduler(self.pods.values())

    @property
    def workers(self) -> list[Json]:
        """All worker pods that aren't terminating."""
        return [
            pod
            for pod in self.pods.values()
            if pods.component(pod) == labels.Component.WORKER and not pods.is_terminating(pod)
        ]


class Observer:
    """Watches one cluster.

    Parameters
    ----------
    api : Api
        Connected to the API server; the caller closes it.
    namespace : str
        The cluster's namespace.
    cluster : dict
        The DaskCluster as it was created or found.
    """

    def __init__(self, api: Api, namespace: str, cluster: Json) -> None:
        self.api = api
        self.namespace = namespace
        self.name: str = cluster["metadata"]["name"]
        self.uid: str = cluster["metadata"]["uid"]
        self._pulse = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        ours = {"labelSelector": f"{labels.CLUSTER_NAME}={self.name}"}
        service = {"fieldSelector": f"metadata.name={names.scheduler(self.name)}"}
        this = {"fieldSelector": f"metadata.name={self.name}"}
        self._clusters = Informer(api, CLUSTERS.path(namespace), self._changed, this)
        self._clusters.start_with(cluster)
        self._pods = Informer(api, PODS.path(namespace), self._changed, ours)
        # Groups made by hand carry no label of their cluster until the operator has adopted them.
        self._groups = Informer(api, GROUPS.path(namespace), self._changed)
        self._services = Informer(api, SERVICES.path(namespace), self._changed, service)
        self._events = Informer(api, EVENTS.path(namespace), self._changed)

    def start(self) -> None:
        """Begin to watch."""
        self._follow("cluster", self._clusters.run())
        self._follow("pods", self._pods.run())
        self._follow("groups", self._groups.run())
        self._follow("service", self._services.run())
        self._follow("events", self._follow_events())

    def settle(self) -> None:
        """Watch from now on only what a running cluster needs: itself, its pods and groups."""
        for key in ("service", "events"):
            self._tasks.pop(key).cancel()

    async def close(self) -> None:
        """Stop watching."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()
        self._changed()

    @property
    def now(self) -> Observed:
        """What is known at this moment; no later change shows in it."""
        cluster = self._clusters.objects.get(self.name)
        if cluster is not None and cluster["metadata"]["uid"] != self.uid:
            cluster = None  # somebody deleted ours and created another
        informers = {
            "cluster": self._clusters,
            "pods": self._pods,
            "groups": self._groups,
            "service": self._services,
            "events": self._events,
        }
        existing = self._ours(self._pods)
        groups = {
            key: group
            for key, group in self._ours(self._groups).items()
            if group["spec"]["cluster"] == self.name and not group["metadata"].get("deletionTimestamp")
        }
        known = {self.name, names.scheduler(self.name), *existing, *groups}
        return Observed(
            name=self.name,
            cluster=cluster,
            pods=existing,
            groups=groups,
            service=self._ours(self._services).get(names.scheduler(self.name)),
            events={
                key: event
                for key, event in self._events.objects.copy().items()
                # Workers may be gone again before we hear of what befell them.
                if (about := _about(event)) in known or about.rpartition("-worker-")[0] in groups
            },
            refusals={key: informer.error for key, informer in informers.items() if informer.error},
        )

    def _ours(self, informer: Informer) -> dict[str, Json]:
        """Return what doesn't belong to an earlier cluster of the name; a copy, for other threads to read."""
        found = informer.objects.copy()
        return {key: each for key, each in found.items() if not pods.is_anothers(each, self.uid)}

    async def until(self, is_reached: Callable[[Observed], bool], timeout: float | None = None) -> Observed:
        """Wait for a state and return it.

        Raises
        ------
        TimeoutError
            It was not reached within ``timeout`` seconds.
        """
        async with asyncio.timeout(timeout):
            while True:
                pulse = self._pulse
                now = self.now
                if is_reached(now):
                    return now
                await pulse.wait()

    @property
    def pulse(self) -> asyncio.Event:
        """An event that the next change sets; take it before you look at `now`."""
        return self._pulse

    def _changed(self) -> None:
        pulse, self._pulse = self._pulse, asyncio.Event()
        pulse.set()

    def _follow(self, key: str, coroutine: Any) -> None:
        self._tasks[key] = asyncio.create_task(coroutine, name=f"{self.name}: watch {key}")

    async def _follow_events(self) -> None:
        # Events of the past hour would only confuse, and may be many; without permission we do without.
        try:
            await self._events.start_now()
        except KubeClusterError as error:
            self._events.error = error
            self._changed()
            return
        await self._events.run()


def _about(event: Json) -> str:
    return str((event.get("involvedObject") or {}).get("name") or "")
