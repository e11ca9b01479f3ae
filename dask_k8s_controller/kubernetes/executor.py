"""Carries plans out: many writes at a time, each failure noted, none in the way of another."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dask_k8s_controller.cache.cache import Cache
from dask_k8s_controller.cache.certificate import Certificate, fingerprint
from dask_k8s_controller.cache.objects import Meta, Sought
from dask_k8s_controller.kubernetes.api import Api
from dask_k8s_controller.kubernetes.certificates import issue
from dask_k8s_controller.kubernetes.errors import ApiError, Conflict, NameTaken, Refused, Unavailable
from dask_k8s_controller.kubernetes.resources import BY_KIND, PODS, SECRETS, SERVICES, Key
from dask_k8s_controller.plans.actions import (
    Action,
    Apply,
    ApplyUnread,
    Create,
    CreateCertificate,
    Delete,
    Failure,
    JsonPatch,
    Outcome,
    Patch,
    SetScale,
)
from dask_k8s_controller.plans.ownership import is_of_an_earlier, owner_of
from dask_k8s_models.hashes import digest
from dask_k8s_models.labels import CLUSTER_NAME

logger = logging.getLogger(__name__)

UNIQUE_DIGITS = 10


@dataclass
class _Progress:
    """What happens while one plan is carried out."""

    key: Key
    uid: str
    slots: asyncio.Semaphore
    failures: list[Failure] = field(default_factory=list)
    has_conflicts: bool = False


@dataclass
class Executor:
    """Carries plans out, and lets the cache know of what the API server answers."""

    cache: Cache
    api: Api
    at_once: int
    """How many writes of one plan are sent at the same time."""

    async def execute(self, key: Key, uid: str, actions: Sequence[Action]) -> Outcome:
        """Carry out all actions of a plan for the object with that uid; none raises."""
        progress = _Progress(key, uid, asyncio.Semaphore(self.at_once))
        pods = [action for action in actions if _creates_pod(action)]
        others = (action for action in actions if not _creates_pod(action))
        if actions:
            await asyncio.gather(
                self._create_pods(progress, pods), *(self._execute(progress, action) for action in others)
            )
        return Outcome(tuple(progress.failures), progress.has_conflicts)

    async def look_for(self, key: Key, sought: Iterable[Sought]) -> None:
        """Read from the API server what the cache lacks.

        Raises
        ------
        ApiError
            It could not be read: whether it is there isn't known.
        """
        for one in sought:
            resource = BY_KIND[one.kind]
            if one.name:
                body = await self.api.get(resource, key.namespace, one.name)
                found = [body] if body is not None else []
            else:
                found = (await self.api.list(resource, key.namespace, one.selector)).get("items") or []
            for body in found:
                self.cache.confirm({"kind": one.kind, **body})

    async def _create_pods(self, progress: _Progress, actions: Sequence[Action]) -> None:
        """Create pods by batches, until one fails: the next would be over quota as well, ….

        So does a ReplicaSet: https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/
        """
        for batch in doubling(actions):
            if not all(await asyncio.gather(*(self._execute(progress, action) for action in batch))):
                return

    async def _execute(self, progress: _Progress, action: Action) -> bool:
        """Carry out an action; return whether that is done. None raises: the others would go on unwatched."""
        async with progress.slots:
            try:
                return await self._try(progress, action)
            except Exception as error:
                logger.exception("%s: an unexpected error.", progress.key)
                self._note_failure(progress, action, Unavailable(f"unexpected error: {error!r}"))
                return False

    async def _try(self, progress: _Progress, action: Action) -> bool:
        try:
            done = await self._write(progress, action)
            logger.info("%s: %s.", progress.key, done)
            return True
        except ApiError as error:
            is_gone = error.code == 404 and isinstance(action, Patch | JsonPatch | SetScale)
            if is_gone or isinstance(error, Conflict):
                logger.debug("%s: %s", progress.key, error)
                progress.has_conflicts = True
                await self._refresh(progress, action)
            else:
                self._note_failure(progress, action, error)
            return False

    async def _write(self, progress: _Progress, action: Action) -> str:
        """Do what an action says; return what that was."""
        namespace, (kind, name) = progress.key.namespace, _subject(action)
        resource, what = BY_KIND[kind], f"the {kind} {name}"
        match action:
            case CreateCertificate():
                return await self._certify(progress, action)
            case ApplyUnread(body):
                await self._apply_unread(progress, body)
                return f"applied {what}"
            case Create():
                await self._create(progress, action)
                return f"created {what}"
            case Apply(body, uid):
                applied = await self.api.apply(resource, namespace, body, uid)
                self._see(kind, uid, applied)
                if applied is None:
                    raise Conflict(f"{what} is another one by now")
                return f"applied {what}"
            case Patch(_, _, uid, patch, version):
                metadata = {**(patch.get("metadata") or {}), "uid": uid}
                if version:
                    metadata["resourceVersion"] = version
                patch = {**patch, "metadata": metadata}
                self.cache.see(await self.api.patch(resource, namespace, name, patch))
                return f"patched {what}"
            case JsonPatch(_, _, uid, operations):
                # No other object's uid can be set to this one.
                changes = [{"op": "replace", "path": "/metadata/uid", "value": uid}, *operations]
                self.cache.see(await self.api.patch(resource, namespace, name, changes))
                return f"changed {what}"
            case SetScale(_, _, replicas, version):  # As `kubectl scale` does.
                patch = {"metadata": {"resourceVersion": version}, "spec": {"replicas": replicas}}
                await self.api.patch(resource, namespace, name, patch, "scale")
                # The scale subresource shows only a part of the object.
                if (whole := await self.api.get(resource, namespace, name)) is not None:
                    self.cache.see(whole)
                return f"scaled {what} to {replicas}"
            case Delete(_, _, uid, why, version, grace):
                left = await self.api.delete(resource, namespace, name, uid, version, grace)
                self._see(kind, uid, left)
                return f"deleted {what}, as {why}"

    def _see(self, kind: str, uid: str, body: Mapping[str, Any] | None) -> None:
        """Record in the cache what an object is now: None if it is gone."""
        if body is None:
            self.cache.store(kind).forget(uid)
        else:
            self.cache.see(body)

    async def _apply_unread(self, progress: _Progress, body: Mapping[str, Any]) -> None:
        kind = body["kind"]
        try:
            await self.api.apply_unread(BY_KIND[kind], progress.key.namespace, dict(body))
        except Conflict as error:
            raise Refused(
                f"{error}: somebody else has made or changed it; delete it, and the controller makes its own",
                409,
            ) from error
        self.cache.notes(progress.uid).applied[kind] = digest(body), self.cache.clock.monotonic()

    async def _certify(self, progress: _Progress, action: CreateCertificate) -> str:
        """Create a Secret with a new certificate, under a name that can't hold anything else."""
        key, metadata = progress.key, action.body["metadata"]
        pair = await asyncio.to_thread(issue, key.name, action.hosts, action.now, action.not_after)
        data = {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": pair.authority}
        # Whoever has the plain name already can't be asked what it is. The other name is of this certificate
        # alone: what is called so was made by this very request, whose answer got lost.
        name = metadata["name"]
        unique = f"{name}-{fingerprint(pair.certificate)[:UNIQUE_DIGITS]}"
        for chosen in [name, unique] if action.is_first else [unique]:
            body = {**action.body, "metadata": {**metadata, "name": chosen}, "stringData": data}
            if await self.api.create_unread(SECRETS, key.namespace, body) or chosen == unique:
                break
        certificate = Certificate(chosen, pair.certificate, action.not_after, action.renew_at)
        self.cache.notes(progress.uid).certificate = certificate
        return f"created the Secret {chosen}; its certificate ends at {action.not_after}"

    async def _create(self, progress: _Progress, action: Create) -> None:
        body = action.body
        kind, name = body["kind"], body["metadata"]["name"]
        undecided = self.cache.notes(progress.uid).undecided
        try:
            answer = await self.api.create(BY_KIND[kind], progress.key.namespace, dict(body))
        except (Refused, Conflict):
            undecided.pop(name, None)
            raise
        except BaseException:
            if kind == PODS.kind:
                undecided[name] = self.cache.clock.monotonic()
            raise
        undecided.pop(name, None)
        meta = Meta.of(answer)
        if _is_watched(answer) or meta.belongs_to(progress.uid):
            self.cache.confirm(answer)
        self._check_owner(progress, action, meta)

    def _check_owner(self, progress: _Progress, action: Create, meta: Meta) -> None:
        """Leave alone what has the name already and isn't ours."""
        key, kind = progress.key, action.body["kind"]
        if meta.belongs_to(progress.uid):
            return
        if is_of_an_earlier(meta, key.kind, key.name, progress.uid):
            raise Conflict(f"the {kind} {meta.name} is of an earlier {key.kind}, and about to go")
        if action.may_be_renamed:
            self.cache.take(meta)
            raise Conflict(f"the {kind} {meta.name} is somebody else's")
        raise NameTaken(f"it isn't the {key.kind}'s, it belongs to {owner_of(meta)}: rename one of them.")

    def _note_failure(self, progress: _Progress, action: Action, error: ApiError) -> None:
        kind, name = _subject(action)
        logger.warning("%s: %s %s: %s", progress.key, kind, name, error)
        is_taken, is_refused = isinstance(error, NameTaken), isinstance(error, Refused)
        reason = "Refused" if is_refused else "ApiServerFails"
        if is_taken:
            reason = f"{kind.removeprefix('Dask')}NameTaken"
        progress.failures.append(Failure(reason, f"{kind} {name}: {error}", is_refused, is_taken))

    async def _refresh(self, progress: _Progress, action: Action) -> None:
        """Bring the cache up to date about an object that was not as expected: the watch may be late."""
        if not isinstance(action, Patch | JsonPatch | Delete | SetScale):
            return
        try:
            body = await self.api.get(BY_KIND[action.kind], progress.key.namespace, action.name)
        except ApiError as error:
            logger.debug("%s: %s", progress.key, error)
            return
        if body is not None:
            self.cache.see(body)
        elif not isinstance(action, SetScale):
            self.cache.store(action.kind).forget(action.uid)


def doubling(actions: Sequence[Action]) -> Iterator[Sequence[Action]]:
    """Yield the first action, the next 2, the next 4, …: so a failure is met before many are made."""
    size = 1
    while actions:
        yield actions[:size]
        actions, size = actions[size:], 2 * size


def _subject(action: Action) -> tuple[str, str]:
    """Return kind and name of what an action writes."""
    if isinstance(action, Create | Apply | CreateCertificate | ApplyUnread):
        return action.body["kind"], action.body["metadata"]["name"]
    return action.kind, action.name


def _creates_pod(action: Action) -> bool:
    return isinstance(action, Create) and action.body["kind"] == PODS.kind


def _is_watched(body: Mapping[str, Any]) -> bool:
    """Whether a watch will tell what becomes of an object: of pods and Services, only Dask's are watched."""
    is_ours = body["kind"] not in (PODS.kind, SERVICES.kind)
    return is_ours or CLUSTER_NAME in (body["metadata"].get("labels") or {})
