"""All groups of a cluster's workers, and what of the scheduler's demand each of them is to do. Pure.

It is made once for all autoscalers of a cluster, and anew only when something has changed: so many groups
cost as much as there are, not their square.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from dask_k8s_controller.autoscaler.needs import Group, Share, shares, unsatisfiable
from dask_k8s_controller.autoscaler.spec import Autoscaler
from dask_k8s_controller.cache.objects import Pod
from dask_k8s_controller.plans.pod_problems import problem_of
from dask_k8s_controller.scheduler.answers import Answer, Attribution, Demand, Need, Worker, attribute
from dask_k8s_controller.worker_group.spec import WorkerGroup
from dask_k8s_models import labels


@dataclass(frozen=True)
class GroupOfWorkers:
    """A DaskWorkerGroup with the pods that it made, and the autoscaler that scales it."""

    group: WorkerGroup
    pods: tuple[Pod, ...] = ()
    autoscaler: Autoscaler | None = None
    leaving: frozenset[str] = frozenset()
    """Uids of the pods whose nodes are about to go."""

    @cached_property
    def live(self) -> tuple[Pod, ...]:
        """The pods that run or will run, those included that are on their way out."""
        return tuple(pod for pod in self.pods if pod.is_live)

    @property
    def active(self) -> tuple[Pod, ...]:
        """The pods that count against the replicas."""
        return tuple(pod for pod in self.live if not pod.is_retiring)

    @property
    def ready(self) -> tuple[Pod, ...]:
        """The live pods that are ready."""
        return tuple(pod for pod in self.live if pod.is_ready)

    @property
    def lasting(self) -> int:
        """How many pods are ready; those whose nodes are about to go count until they have a successor."""
        staying = sum(pod.meta.uid not in self.leaving for pod in self.ready)
        return min(len(self.ready), max(staying, self.group.replicas))


def workforce(
    groups: Iterable[WorkerGroup],
    pods: Iterable[Pod],
    autoscalers: Iterable[Autoscaler],
    demand: Answer[Demand] | None,
    workers: Answer[tuple[Worker, ...]] | None,
    leaving: frozenset[str] = frozenset(),
) -> Workforce:
    """Put together the groups of a cluster that have workers, want some, or are scaled."""
    by_owner: dict[str, list[Pod]] = {}
    for pod in pods:
        by_owner.setdefault(pod.meta.owner.uid if pod.meta.owner else "", []).append(pod)
    scalers: dict[str, Autoscaler] = {}
    for autoscaler in sorted(autoscalers, key=lambda autoscaler: autoscaler.age):
        if not autoscaler.meta.is_deleting:
            scalers.setdefault(autoscaler.worker_group, autoscaler)
    members = (
        GroupOfWorkers(group, tuple(by_owner.get(group.meta.uid, ())), scalers.get(group.name), leaving)
        for group in groups
        if not group.meta.is_deleting
    )
    return Workforce(
        {
            member.group.name: member
            for member in members
            if member.autoscaler or member.pods or member.group.replicas
        },
        demand,
        workers,
    )


@dataclass(frozen=True)
class Workforce:
    """All groups of a cluster, by name, and what its scheduler said last."""

    members: Mapping[str, GroupOfWorkers] = field(default_factory=dict)
    demand: Answer[Demand] | None = None
    workers: Answer[tuple[Worker, ...]] | None = None

    @cached_property
    def first(self) -> str:
        """The name of the autoscaler that asks the scheduler for all; empty if there is none."""
        scalers = (member.autoscaler for member in self.members.values())
        return min((one.name for one in scalers if one and one.spec), default="")

    @cached_property
    def attribution(self) -> Attribution:
        """In which pods the workers run that the scheduler knew when it was asked last."""
        pods = (pod for member in self.members.values() for pod in member.pods)
        return attribute(pods, (self.workers.value if self.workers else None) or ())

    @cached_property
    def groups(self) -> Mapping[str, Group]:
        """What an allocation needs to know of each group, by its name."""
        return {name: self._group(member) for name, member in self.members.items()}

    @cached_property
    def shares(self) -> Mapping[str, Share]:
        """What each group is to do, by its name; empty as long as the scheduler has said nothing."""
        demand = self.demand.value if self.demand else None
        return shares(demand, self.groups.values()) if demand is not None and self.members else {}

    @cached_property
    def unsatisfiable(self) -> tuple[Need, ...]:
        """The needs of tasks that no group can ever run."""
        demand = self.demand.value if self.demand else None
        return unsatisfiable(demand, self.groups.values()) if demand is not None else ()

    def contradiction(self, name: str) -> Mapping[str, float] | None:
        """Return what a group's workers offer, or offered last, if that isn't what its spec says."""
        member = self.members[name]
        group, noted = member.group, (member.autoscaler.status if member.autoscaler else {})
        # A pod that an earlier release has made may lack the variable, and an earlier scheduler the answer.
        made_so = (pod for pod in member.ready if pod.meta.annotations.get(labels.OFFERS) == group.offers)
        known = (worker for pod in made_so for worker in self.attribution.of(pod) if worker.threads)
        if (one := next(known, None)) is not None:
            found = {key: amount for key, amount in one.resources.items() if math.isfinite(amount)}
            return found if found != group.resources else None
        return noted.get("workerResources") if noted.get("workerResourcesOf") == group.offers else None

    def room_beside(self, name: str) -> float:
        """Return the memory, in bytes, of other groups' workers that stay and can hold this one's results.

        Results go to the cheaper group, so that of two groups that want to go not each counts on the other.
        """
        own, room = self.groups[name], 0.0
        for other in self.groups.values():
            if other.name != name:
                pods = [pod for pod in self.members[other.name].active if pod.is_ready]
                if other.is_scaled and other.cost > own.cost:
                    pods = pods[: max(other.minimum, math.ceil(self.shares[other.name].own / other.per_pod))]
                room += sum(map(self.memory_of, pods))
        return room

    def memory_of(self, pod: Pod) -> float:
        """Return the bytes that a pod's workers can hold; infinite if they don't say, 0 if it has none."""
        limits = [worker.memory_limit for worker in self.attribution.of(pod)]
        if limits and all(limits):
            return sum(limits)
        return math.inf if self.attribution.may_have_workers(pod) else 0.0

    def _group(self, member: GroupOfWorkers) -> Group:
        group, ready, workers = member.group, member.ready, self.attribution
        spec = member.autoscaler.spec if member.autoscaler else None
        one = next((worker for pod in ready for worker in workers.of(pod)), None)
        remembered = self.contradiction(group.name)
        offered = group.resources if remembered is None else remembered
        return Group(
            name=group.name,
            resources=offered if one is None else one.resources,
            threads=one.threads if one is not None and one.threads else group.threads,
            has_devices=group.has_gpus,
            priority=spec.priority if spec else 0,
            is_scaled=spec is not None,
            minimum=spec.minimum if spec else 0,
            maximum=math.inf if spec is None or spec.maximum is None else spec.maximum,
            replicas=group.replicas,
            ready=member.lasting,
            stuck=sum(problem_of(pod) is not None for pod in member.live),
            per_pod=max((len(workers.of(pod)) for pod in member.live), default=1) or 1,
        )
