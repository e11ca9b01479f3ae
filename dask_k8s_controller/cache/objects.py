"""What the controller needs to know of each object, parsed once from the API server's JSON.

Pure: no kopf, no HTTP. Plans are made of these and of nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, NamedTuple

from dask_k8s_controller.cache.leaving import ANNOUNCING, Taint, Toleration, announcements, tolerations
from dask_k8s_models import labels, pods

JsonObject = Mapping[str, Any]


class By(NamedTuple):
    """A key by which objects are found: what of them has which value, in which namespace."""

    what: str
    namespace: str
    value: str
    more: str = ""


@dataclass(frozen=True)
class Sought:
    """What should be there and isn't known: it is read from the API server before it is taken for gone."""

    kind: str
    name: str = ""
    selector: str = ""
    """Labels that it has, if its name isn't known."""


@dataclass(frozen=True)
class Owner:
    """The object that a controller reference names."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True)
class Meta:
    """An object's metadata, as far as it matters here."""

    name: str
    namespace: str
    uid: str
    version: str = field(default="", compare=False)
    """Two versions of an object that tell the same are equal."""
    generation: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    owner: Owner | None = None
    """Its controller."""
    owner_references: tuple[JsonObject, ...] = ()
    """All its owners, as they stand."""
    created: datetime | None = None
    is_deleting: bool = False
    """Has a deletionTimestamp."""

    @classmethod
    def of(cls, body: JsonObject) -> Meta:
        """Parse an object's ``metadata``."""
        metadata = body["metadata"]
        return cls(
            name=metadata["name"],
            namespace=metadata.get("namespace") or "",
            uid=metadata.get("uid") or "",
            version=metadata.get("resourceVersion") or "",
            generation=metadata.get("generation") or 0,
            labels=_shared(metadata.get("labels")),
            annotations=_shared(metadata.get("annotations")),
            owner=_controller(metadata.get("ownerReferences") or ()),
            owner_references=tuple(metadata.get("ownerReferences") or ()),
            created=moment(metadata.get("creationTimestamp")),
            is_deleting=bool(metadata.get("deletionTimestamp")),
        )

    def is_child_of(self, uid: str) -> bool:
        """Whether the object's controller is the one with this uid."""
        return self.owner is not None and self.owner.uid == uid

    def belongs_to(self, uid: str) -> bool:
        """Whether the one with this uid is among the object's owners."""
        return any(reference.get("uid") == uid for reference in self.owner_references)


def _shared(mapping: JsonObject | None) -> Mapping[str, str]:
    """Keep equal texts once: a group's annotations are on each of its pods, and may be long."""
    return {sys.intern(key): sys.intern(value) for key, value in (mapping or {}).items()}


def _controller(references: Any) -> Owner | None:
    for reference in references:
        if reference.get("controller"):
            return Owner(reference.get("kind", ""), reference.get("name", ""), reference.get("uid", ""))
    return None


def moment(text: str | None) -> datetime | None:
    """Read a timestamp of an object; None if there is none."""
    return datetime.fromisoformat(text) if text else None


@dataclass(frozen=True)
class Container:
    """What the kubelet says of a container of a pod."""

    name: str
    runs: bool = False
    """Its process runs now, as far as is known."""
    is_init: bool = False
    waiting_reason: str = ""
    waiting_message: str = ""
    exit_code: int | None = None
    """Of the present end, or of the last one if it was started again."""
    exit_reason: str = ""
    exit_message: str = ""
    restarts: int = 0


@dataclass(frozen=True)
class Pod:
    """A scheduler's, a worker's or a job's pod."""

    kind: ClassVar[str] = "Pod"

    meta: Meta
    phase: str = "Pending"
    is_ready: bool = False
    was_ready: bool = False
    """Isn't ready now, but its containers were since they run."""
    ip: str = ""
    addresses: frozenset[str] = frozenset()
    """All its addresses: it may have one of IPv4 and one of IPv6."""
    reason: str = ""
    """Kubernetes' word for why it failed, e.g. ``Evicted``."""
    message: str = ""
    unschedulable: str = ""
    """The scheduler's message while no node takes the pod."""
    gates: tuple[str, ...] = ()
    """What has yet to let it in, such as a queue, before a node is looked for."""
    containers: tuple[Container, ...] = ()
    ended: datetime | None = None
    """When its last container ended, if all have."""
    restart_policy: str = "Always"
    main: str = ""
    """The name of the container that runs Dask; the others are its sidecars."""
    node: str = field(default="", compare=False)
    """Where it is bound to: being bound is no news of its own, as more follows."""
    tolerations: tuple[Toleration, ...] = ()
    """Of its tolerations those that may be about a node's end."""

    @classmethod
    def of(cls, body: JsonObject, announcing: Collection[str] = ANNOUNCING) -> Pod:
        """Parse a Pod."""
        spec, status = body.get("spec") or {}, body.get("status") or {}
        conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
        scheduled = conditions.get("PodScheduled") or {}
        fits_nowhere = (scheduled.get("status"), scheduled.get("reason")) == ("False", "Unschedulable")
        meta, ip = Meta.of(body), status.get("podIP") or ""
        component = meta.labels.get(labels.COMPONENT, "")
        return cls(
            meta=meta,
            phase=status.get("phase") or "Pending",
            is_ready=(conditions.get("Ready") or {}).get("status") == "True",
            was_ready=_was_ready(conditions.get("Ready") or {}, status.get("containerStatuses") or ()),
            ip=ip,
            addresses=frozenset(
                filter(None, (ip, *(entry.get("ip") for entry in status.get("podIPs") or ())))
            ),
            reason=status.get("reason") or "",
            message=status.get("message") or "",
            unschedulable=(scheduled.get("message") or "no node takes it") if fits_nowhere else "",
            gates=tuple(gate["name"] for gate in spec.get("schedulingGates") or ()),
            containers=(
                *(_container(item, is_init=True) for item in status.get("initContainerStatuses") or ()),
                *(_container(item) for item in status.get("containerStatuses") or ()),
            ),
            ended=_ended(status.get("containerStatuses") or ()),
            restart_policy=spec.get("restartPolicy") or "Always",
            main=pods.main_container(spec, component, meta.annotations).get("name") or "",
            node=sys.intern(spec.get("nodeName") or ""),
            tolerations=tolerations(spec, announcing),
        )

    def index(self) -> Iterable[By]:
        """Return the keys by which the pod is found: its name, its cluster and component, its group."""
        namespace = self.meta.namespace
        cluster = self.meta.labels.get(labels.CLUSTER_NAME)
        component = self.meta.labels.get(labels.COMPONENT)
        group = self.meta.labels.get(labels.WORKER_GROUP_NAME)
        yield By("name", namespace, self.meta.name)
        if self.meta.owner is not None:
            yield By("owner", namespace, self.meta.owner.uid)
        if cluster and component:
            yield By("component", namespace, cluster, component)
        if group and component == labels.Component.WORKER:
            yield By("group", namespace, group)
        if component == labels.Component.JOB_RUNNER and self.meta.owner is not None:
            yield By("job", namespace, self.meta.owner.name)

    @property
    def name(self) -> str:
        """The pod's name."""
        return self.meta.name

    @property
    def has_ended(self) -> bool:
        """Failed, was evicted, or succeeded: it won't run again."""
        return self.phase in ("Failed", "Succeeded")

    @property
    def is_live(self) -> bool:
        """Runs or will run, as far as anyone knows."""
        return not self.has_ended and not self.meta.is_deleting

    @property
    def runs_nothing(self) -> bool:
        """No container can hold anything now: none has begun, or each waits to be started again."""
        main = [container for container in self.containers if not container.is_init]
        return not any(container.runs for container in main) if main else self.phase == "Pending"

    @property
    def is_retiring(self) -> bool:
        """Was chosen for retirement."""
        return labels.RETIRING in self.meta.annotations

    @property
    def template_hash(self) -> str:
        """The user's pod spec that it was made from."""
        return self.meta.annotations.get(labels.TEMPLATE_HASH, "")


def _was_ready(condition: JsonObject, statuses: Iterable[JsonObject]) -> bool:
    """Whether the condition became false after the containers had been started."""
    changed = moment(condition.get("lastTransitionTime"))
    running = [(status.get("state") or {}).get("running") or {} for status in statuses]
    started = [start for state in running if (start := moment(state.get("startedAt"))) is not None]
    return (
        condition.get("status") == "False" and changed is not None and changed > max(started, default=changed)
    )


def _container(status: JsonObject, *, is_init: bool = False) -> Container:
    state, last = status.get("state") or {}, status.get("lastState") or {}
    waiting = state.get("waiting") or {}
    terminated = state.get("terminated") or last.get("terminated") or {}
    return Container(
        name=status.get("name") or "",
        runs="running" in state,
        is_init=is_init,
        waiting_reason=waiting.get("reason") or "",
        waiting_message=waiting.get("message") or "",
        exit_code=terminated.get("exitCode"),
        exit_reason=terminated.get("reason") or "",
        exit_message=terminated.get("message") or "",
        restarts=status.get("restartCount") or 0,
    )


def _ended(statuses: Any) -> datetime | None:
    ends = [
        moment(((item.get("state") or {}).get("terminated") or {}).get("finishedAt")) for item in statuses
    ]
    known = [end for end in ends if end is not None]
    return max(known) if known and len(known) == len(ends) else None


@dataclass(frozen=True)
class Service:
    """A scheduler's Service."""

    kind: ClassVar[str] = "Service"

    meta: Meta
    spec: JsonObject = field(default_factory=dict)
    has_ingress: bool = False
    """A load balancer has given it an address."""

    @classmethod
    def of(cls, body: JsonObject) -> Service:
        """Parse a Service."""
        status = body.get("status") or {}
        has_ingress = bool((status.get("loadBalancer") or {}).get("ingress"))
        return cls(Meta.of(body), body.get("spec") or {}, has_ingress)

    def index(self) -> Iterable[By]:
        """Return the key by which the Service is found: its name."""
        yield By("name", self.meta.namespace, self.meta.name)


@dataclass(frozen=True)
class Node:
    """A node, of which no more is kept than whether it is about to go: its status changes all the time."""

    kind: ClassVar[str] = "Node"

    meta: Meta
    announcements: tuple[Taint, ...] = ()
    """The taints by which its end is announced; none while it stays."""

    @classmethod
    def of(cls, body: JsonObject, announcing: Collection[str] = ANNOUNCING) -> Node:
        """Parse a Node."""
        metadata = body["metadata"]
        meta = Meta(metadata["name"], "", metadata["uid"], metadata.get("resourceVersion") or "")
        return cls(meta, announcements(body.get("spec") or {}, announcing))

    def index(self) -> Iterable[By]:
        """Return the key by which nodes that are about to go are found."""
        if self.announcements:
            yield LEAVING

    def differs(self, before: Node | None) -> bool:
        """Whether its end is announced now, or no longer: its heartbeats concern nobody."""
        return self.announcements != (before.announcements if before else ())

    def is_left_by(self, pod: Pod) -> bool:
        """Whether a pod of this node has to go elsewhere, as nothing like it would be bound to the node."""
        return any(
            not any(toleration.covers(taint) for toleration in pod.tolerations)
            for taint in self.announcements
        )


LEAVING = By("leaving", "", "")
