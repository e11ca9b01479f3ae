"""All that is known of the objects in the API server, by kind, and what our own writes have left open."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from dask_k8s_controller.cache.certificate import Certificate
from dask_k8s_controller.cache.leaving import ANNOUNCING
from dask_k8s_controller.cache.objects import LEAVING, By, Meta, Node, Pod, Service
from dask_k8s_controller.cache.store import Change, HasMeta, Store

if TYPE_CHECKING:
    from dask_k8s_controller.runtime.clock import Clock
    from dask_k8s_controller.scheduler.conversations import Conversations

T = TypeVar("T", bound=HasMeta)
R = TypeVar("R")

Parser = Callable[[Mapping[str, Any], Any], Any]
"""Makes an object of its JSON, and of what was known of it."""

UNDECIDED_FOR = 600.0
"""Seconds after which a request whose fate is unknown can't take effect any more."""

TAKEN_FOR = 60.0
"""Seconds for which a name is taken for taken after it was found so."""


@dataclass(slots=True)
class Notes:
    """What no object tells of an owner. Times are those of the monotonic clock."""

    undecided: dict[str, float] = field(default_factory=dict)
    """Names of pods whose creation got no answer, and when it was asked for."""
    applied: dict[str, tuple[str, float]] = field(default_factory=dict)
    """The digest of the child of each kind that was applied last, and when: nobody here can read it."""
    certificate: Certificate | None = None
    """The certificate that was made last, of which the owner's status may not tell yet."""
    derived: tuple[tuple[Any, ...], Any] | None = None
    """What was made of which inputs: see `Cache.derived`."""


class Cache:
    """The stores of all kinds.

    Parameters
    ----------
    parsers : mapping
        How objects of our own kinds are made of their JSON and what was known of them; pods, Services and
        nodes are known.
    clock : Clock
        What the ages of objects and of answers are measured with.
    answers : Conversations
        What schedulers said last.
    announcing : collection of str
        Keys of taints that announce a node's end, beside those that are known.
    """

    def __init__(
        self,
        parsers: Mapping[str, Parser],
        clock: Clock,
        answers: Conversations,
        announcing: Collection[str] = (),
    ) -> None:
        announcing = ANNOUNCING.union(announcing)
        self.answers = answers
        self.on_change: Callable[[Change[Any], object], None] = lambda change, by: None
        """Called with each change, whoever found it out, and the key whose reconcile has made it, if any."""
        self.on_gone: Callable[[Any], None] = lambda gone: None
        """Called with each object that is gone, whoever found it out."""
        self.clock = clock
        all_parsers: dict[str, Parser] = {
            **parsers,
            Pod.kind: lambda body, _: Pod.of(body, announcing),
            Service.kind: lambda body, _: Service.of(body),
            Node.kind: lambda body, _: Node.of(body, announcing),
        }
        self._stores: dict[str, Store[Any]] = {
            kind: Store(parse, lambda gone: self.on_gone(gone)) for kind, parse in all_parsers.items()
        }
        self._notes: defaultdict[str, Notes] = defaultdict(Notes)
        self._taken: dict[By, float] = {}
        self.operator_namespace = ""
        """Where the controller's own pod is; empty outside a cluster."""

    def knows(self, uid: str) -> bool:
        """Whether an object of any kind has this uid."""
        return any(store.get(uid) is not None for store in self._stores.values())

    def store(self, kind: str) -> Store[Any]:
        """Return the store of a kind."""
        return self._stores[kind]

    def see(self, body: Mapping[str, Any], listed_at: int | None = None, by: object = None) -> None:
        """Record an object, be it from a watch, a list (see `Store.see`) or the answer to a write.

        The key ``by`` is that of the object whose reconcile has made the change, and need not be told of it.
        """
        store = self._stores.get(body.get("kind", ""))
        if store is not None and (change := store.see(body, listed_at)):
            self.on_change(change, by)

    def confirm(self, body: Mapping[str, Any]) -> None:
        """Record an object that the API server itself has just shown."""
        store = self._stores.get(body.get("kind", ""))
        if store is not None and (change := store.confirm(body)):
            self.on_change(change, None)

    def get(self, of: type[T], namespace: str, name: str) -> T | None:
        """Return the object of that name; None if none is known."""
        return next(iter(self.find(of, By("name", namespace, name))), None)

    def find(self, of: type[T], by: By) -> tuple[T, ...]:
        """Return the objects of a class that have this key, of each name the newest."""
        return self.summary(of, newest, by)

    def summary(self, of: type[T], make: Callable[[tuple[T, ...]], R], by: By) -> R:
        """Return what a function makes of the objects that have this key; made anew only when they changed.

        It has to be a function of a module, which is known by its identity, and gets all versions that there
        are: see `newest`.
        """
        return self._stores[of.kind].summary(by, make)

    def pods(self, owner: Meta, by: By) -> tuple[Pod, ...]:
        """Return the pods that have this key, and those of an owner though they lack the labels."""
        store = self._stores[Pod.kind]
        return newest((*store.find(by), *store.find(By("owner", owner.namespace, owner.uid))))

    def on_node(self, node: Node) -> tuple[Pod, ...]:
        """Return the pods that are bound to a node."""
        return tuple(pod for pod in self._stores[Pod.kind] if pod.node == node.meta.name)

    def leaving(self, pods: Iterable[Pod]) -> frozenset[str]:
        """Return the uids of the pods whose nodes are about to go."""
        nodes = {node.meta.name: node for node in self._stores[Node.kind].find(LEAVING)}
        if not nodes:
            return frozenset()
        bound = ((pod, nodes.get(pod.node)) for pod in pods)
        return frozenset(pod.meta.uid for pod, node in bound if node is not None and node.is_left_by(pod))

    def is_taken(self, namespace: str, name: str) -> bool:
        """Whether a pod that isn't Dask's was found to have a name."""
        return By("name", namespace, name) in self._taken

    def take(self, meta: Meta) -> None:
        """Record a pod that isn't Dask's, so that no watch tells of it, and has a name that we want."""
        self._taken[By("name", meta.namespace, meta.name)] = self.clock.monotonic()

    def notes(self, owner_uid: str) -> Notes:
        """Return what is noted of an owner, to be read and to be added to."""
        return self._notes[owner_uid]

    def undecided(self, owner_uid: str) -> tuple[str, ...]:
        """Return the names of an owner's pods whose creation got no answer, and may yet take effect."""
        now = self.clock.monotonic()
        undecided = self._notes[owner_uid].undecided
        return tuple(name for name, since in undecided.items() if now - since <= UNDECIDED_FOR)

    def derived(self, owner_uid: str, make: Callable[..., R], *inputs: Any) -> R:
        """Return what a function makes of inputs for an owner; made anew only when they have changed."""
        notes = self._notes[owner_uid]
        if notes.derived is None or notes.derived[0] != inputs:
            notes.derived = inputs, make(*inputs)
        made: R = notes.derived[1]
        return made

    def forget(self, owner_uid: str) -> None:
        """Drop what is remembered of an owner that is gone."""
        self._notes.pop(owner_uid, None)

    def sweep(self) -> None:
        """Drop what is remembered of owners that are gone, and names that were taken a while ago."""
        now = self.clock.monotonic()
        self._taken = {by: since for by, since in self._taken.items() if now - since < TAKEN_FOR}
        for uid in [uid for uid in self._notes if not self.knows(uid)]:
            self.forget(uid)


def newest(found: Iterable[T]) -> tuple[T, ...]:
    """Keep, of objects of one name, the last: the others are gone, though nobody has told us yet."""
    by_name: dict[str, T] = {}
    for facts in found:
        known = by_name.get(facts.meta.name)
        if known is None or _version(facts) > _version(known):
            by_name[facts.meta.name] = facts
    return tuple(by_name.values())


def _version(facts: HasMeta) -> int:
    return int(facts.meta.version) if facts.meta.version.isdecimal() else 0
