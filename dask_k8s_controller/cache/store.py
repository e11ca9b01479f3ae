"""What is known of each kind of objects: the newest of what the watch showed and what our writes returned.

So a plan never misses our last writes, however late the watch is: a stale cache never makes a second pod. And
a new list is the truth, whatever versions it has: a restored backup of the API server takes them back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

from dask_k8s_controller.cache.objects import By, Meta


class HasMeta(Protocol):
    """An object, parsed."""

    kind: ClassVar[str]

    @property
    def meta(self) -> Meta: ...

    def index(self) -> Iterable[By]:
        """Return the keys by which it is found."""
        ...


T = TypeVar("T", bound=HasMeta)
R = TypeVar("R")

REMEMBERED_DELETIONS = 10_000


class Change(NamedTuple, Generic[T]):
    """An object that is new, or differs in what is read of it; and what it was before."""

    now: T
    before: T | None


class _Deletion(NamedTuple):
    """When an object has gone, by our own count, and at which version; empty if that isn't known."""

    at: int
    version: str


class Store(Generic[T]):
    """The objects of one kind, by uid, and found by what they are indexed by.

    Parameters
    ----------
    parse : callable
        Makes an object of its JSON, and of what was known of an earlier version.
    on_gone : callable, optional
        Told each object that is gone.
    """

    def __init__(
        self,
        parse: Callable[[Mapping[str, Any], T | None], T],
        on_gone: Callable[[T], None] = lambda facts: None,
    ) -> None:
        self._parse = parse
        self._on_gone = on_gone
        self._facts: dict[str, T] = {}
        self._learned: dict[str, int] = {}
        self._found: dict[By, dict[str, T]] = {}
        self._made: dict[By, dict[Callable[..., Any], Any]] = {}
        self._deleted: dict[str, _Deletion] = {}
        self._count = 0

    def has(self, uid: str, version: str) -> bool:
        """Whether this very version of an object is known, be it from a watch or from our own write."""
        known = self._facts.get(uid)
        return known is not None and known.meta.version == version

    def see(self, body: Mapping[str, Any], listed_at: int | None = None) -> Change[T] | None:
        """Record an object, unless it is known in a newer version or known to be gone.

        Parameters
        ----------
        body : mapping
            The object.
        listed_at : int, optional
            It stands in a list that was asked for at this `mark`: what was known before doesn't count.

        Returns
        -------
        Change or None
            What has changed; None if nothing has that anybody reads.
        """
        metadata = body["metadata"]
        uid, version = metadata["uid"], metadata.get("resourceVersion") or ""
        known, deletion = self._facts.get(uid), self._deleted.get(uid)
        if known is not None:
            is_outdated = listed_at is not None and self._learned[uid] <= listed_at
            if version == known.meta.version or not (is_outdated or _is_newer(version, known.meta.version)):
                return None
        # After a restored backup even the generation may be one that there was before.
        facts = self._parse(body, known if listed_at is None else None)
        if deletion is not None:
            is_outdated = listed_at is not None and deletion.at <= listed_at
            # A watch by labels tells of an object that lost them as of one that has gone: it may come back.
            if not is_outdated and not (deletion.version and _is_newer(version, deletion.version)):
                return None
            del self._deleted[uid]
        self._drop(uid)
        self._facts[uid] = facts
        self._learned[uid] = self._tick()
        for key in facts.index():
            self._found.setdefault(key, {})[uid] = facts
            self._made.pop(key, None)
        return None if facts == known else Change(facts, known)

    def confirm(self, body: Mapping[str, Any]) -> Change[T] | None:
        """Record an object that the API server itself has just shown, whatever a watch said."""
        metadata = body["metadata"]
        deletion = self._deleted.get(metadata["uid"])
        version = metadata.get("resourceVersion") or ""
        if deletion is not None and deletion.version and not _is_newer(deletion.version, version):
            del self._deleted[metadata["uid"]]
        return self.see(body)

    def forget(self, uid: str, version: str = "") -> None:
        """Record that an object is gone: older news of it is ignored.

        Parameters
        ----------
        uid : str
            The uid of the object that is gone.
        version : str
            The version at which it was deleted, if that is known.
        """
        self._deleted.pop(uid, None)
        self._deleted[uid] = _Deletion(self._tick(), version)
        if len(self._deleted) > REMEMBERED_DELETIONS:
            del self._deleted[next(iter(self._deleted))]
        facts = self._drop(uid)
        if facts is not None:
            self._on_gone(facts)

    def mark(self) -> int:
        """Return what tells apart what is known by now and what will be learned after."""
        return self._count

    def replace_all(self, uids: Iterable[str], version: str, listed_at: int, namespace: str | None) -> None:
        """Record what a list has: what it lacks is gone, unless it was learned after and is newer.

        A watch that had to begin anew doesn't tell what was deleted meanwhile; a list does, by its gaps.

        Parameters
        ----------
        uids : iterable of str
            What the list has.
        version : str
            The list's resource version.
        listed_at : int
            The `mark` at which the list was asked for.
        namespace : str or None
            Which namespace was listed; None for all.
        """
        present = set(uids)
        gone = [
            uid
            for uid, facts in self._facts.items()
            if uid not in present
            and namespace in (None, facts.meta.namespace)
            and (self._learned[uid] <= listed_at or not _is_newer(facts.meta.version, version))
        ]
        for uid in gone:
            self.forget(uid, version)

    def get(self, uid: str) -> T | None:
        """Return the object with this uid, if it is known."""
        return self._facts.get(uid)

    def find(self, key: By) -> tuple[T, ...]:
        """Return the facts that have this key, the oldest uid first seen first."""
        return tuple(self._found.get(key, {}).values())

    def summary(self, key: By, make: Callable[[tuple[T, ...]], R]) -> R:
        """Return what a function makes of the facts that have this key; made anew only when they changed.

        So an event that concerns all of a cluster's groups costs as much as there are, not their square.
        """
        if key not in self._found:
            return make(())
        made = self._made.setdefault(key, {})
        if make not in made:
            made[make] = make(self.find(key))
        found: R = made[make]
        return found

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._facts.values()))

    def __len__(self) -> int:
        return len(self._facts)

    def _tick(self) -> int:
        self._count += 1
        return self._count

    def _drop(self, uid: str) -> T | None:
        facts = self._facts.pop(uid, None)
        if facts is not None:
            del self._learned[uid]
            for key in facts.index():
                found = self._found[key]
                del found[uid]
                self._made.pop(key, None)
                if not found:
                    del self._found[key]
        return facts


def _is_newer(version: str, than: str) -> bool:
    """Compare resource versions: they are numbers that grow, documented so since Kubernetes 1.35."""
    try:
        return int(version) > int(than)
    except ValueError:
        return version != than
