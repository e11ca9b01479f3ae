"""What is known of each kind of objects: the newest of what the watch showed and what our writes returned.

So a plan never misses our last writes, however late the watch is: a stale cache never makes a second pod.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from dask_k8s_controller.cache.objects import Meta


class HasMeta(Protocol):
    """An object, parsed."""

    kind: ClassVar[str]

    @property
    def meta(self) -> Meta: ...


T = TypeVar("T", bound=HasMeta)

REMEMBERED_DELETIONS = 10_000


class Store(Generic[T]):
    """The objects of one kind, by uid, and found by keys that are made from their facts.

    Parameters
    ----------
    parse : callable
        Makes facts of an object's JSON.
    keys : callable
        Names the keys by which facts are found with `find`, e.g. the name and the group that a pod is of.
    """

    def __init__(
        self, parse: Callable[[Mapping[str, Any]], T], keys: Callable[[T], Iterable[Hashable]]
    ) -> None:
        self._parse = parse
        self._keys = keys
        self._facts: dict[str, T] = {}
        self._found: dict[Hashable, dict[str, T]] = {}
        self._deleted: dict[str, str] = {}

    def see(self, body: Mapping[str, Any]) -> T:
        """Take note of an object, unless it is known in a newer version or known to be gone."""
        metadata = body["metadata"]
        uid = metadata["uid"]
        known = self._facts.get(uid)
        if known is not None and not _is_newer(metadata.get("resourceVersion"), known.meta.version):
            return known
        facts = self._parse(body)
        if self._is_back(uid, metadata.get("resourceVersion")):
            self._drop(uid)
            self._facts[uid] = facts
            for key in self._keys(facts):
                self._found.setdefault(key, {})[uid] = facts
        return facts

    def confirm(self, body: Mapping[str, Any]) -> None:
        """Take note of an object that the API server itself has just shown, whatever a watch said."""
        metadata = body["metadata"]
        gone_at = self._deleted.get(metadata["uid"])
        if gone_at and not _is_newer(gone_at, metadata.get("resourceVersion") or ""):
            del self._deleted[metadata["uid"]]
        self.see(body)

    def forget(self, uid: str, version: str = "") -> T | None:
        """Take note that an object is gone.

        Parameters
        ----------
        uid : str
            Of the object.
        version : str
            The resource version as of which it is gone from what is watched. An object that only lost a
            label comes back with a newer one; without a version it never does.

        Returns
        -------
        object
            What was known of it.
        """
        self._deleted[uid] = version
        if len(self._deleted) > REMEMBERED_DELETIONS:
            del self._deleted[next(iter(self._deleted))]
        return self._drop(uid)

    def replace_all(self, uids: Iterable[str], version: str, within: Callable[[T], bool]) -> list[T]:
        """Take note of a list as of ``version``: what it lacks is gone, unless it is newer.

        A watch that had to begin anew doesn't tell what was deleted meanwhile; a list does, by its gaps.

        Parameters
        ----------
        uids : iterable of str
            What the list has.
        version : str
            The list's resource version.
        within : callable
            Whether an object would have been in the list.

        Returns
        -------
        list
            The facts of the objects that are gone.
        """
        present = set(uids)
        gone = [
            facts
            for uid, facts in self._facts.items()
            if uid not in present and within(facts) and not _is_newer(facts.meta.version, version)
        ]
        for facts in gone:
            self.forget(facts.meta.uid, version)
        return gone

    def get(self, uid: str) -> T | None:
        """Return the object with this uid, if it is known."""
        return self._facts.get(uid)

    def find(self, key: Hashable) -> tuple[T, ...]:
        """Return the facts that have this key, the oldest uid first seen first."""
        return tuple(self._found.get(key, {}).values())

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._facts.values()))

    def __len__(self) -> int:
        return len(self._facts)

    def _is_back(self, uid: str, version: str | None) -> bool:
        """Whether an object isn't known to be gone: what is late in telling of it has an older version."""
        if uid not in self._deleted:
            return True
        gone_at = self._deleted[uid]
        if not gone_at or not _is_newer(version, gone_at):
            return False
        del self._deleted[uid]
        return True

    def _drop(self, uid: str) -> T | None:
        facts = self._facts.pop(uid, None)
        if facts is not None:
            for key in self._keys(facts):
                found = self._found[key]
                del found[uid]
                if not found:
                    del self._found[key]
        return facts


def _is_newer(version: str | None, than: str) -> bool:
    """Compare resource versions: they are numbers that grow, documented so since Kubernetes 1.35."""
    try:
        return int(version or "") > int(than)
    except ValueError:
        return version != than
