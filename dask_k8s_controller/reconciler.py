"""One object's turn: observe, plan, carry out, write the status, say when to look again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dask_k8s_controller import status as statuses
from dask_k8s_controller.api import Api
from dask_k8s_controller.clock import Clock
from dask_k8s_controller.conversations import Conversations
from dask_k8s_controller.errors import ApiError, Conflict, Refused, Unavailable
from dask_k8s_controller.facts import Meta
from dask_k8s_controller.observed import Failure, Outcome
from dask_k8s_controller.plan import Action, Apply, Create, Delete, JsonPatch, Patch, Plan
from dask_k8s_controller.plan_cluster import plan_cluster
from dask_k8s_controller.plan_group import plan_group
from dask_k8s_controller.queue import Key, Requeue
from dask_k8s_controller.resources import BY_KIND, PODS
from dask_k8s_controller.settings import Settings
from dask_k8s_controller.specs import Cluster
from dask_k8s_controller.world import World

logger = logging.getLogger(__name__)

Status = dict[str, Any]

# Status fields of ours that may become meaningless: they are removed when they are no longer said.
OPTIONAL_FIELDS = ("dashboardAddress", "schedulerAddress")


@dataclass
class _Turn:
    """What happens during one turn."""

    key: Key
    meta: Meta
    slots: asyncio.Semaphore
    failures: list[Failure] = field(default_factory=list)
    has_conflicts: bool = False
    pods_are_refused: bool = False


class Reconciler:
    """Gives objects their turns.

    Parameters
    ----------
    world : World
        What is known.
    api : Api
        Where it is changed.
    conversations : Conversations
        Where schedulers are asked.
    clock : Clock
        Time.
    settings : Settings
        Choices.
    """

    def __init__(
        self, world: World, api: Api, conversations: Conversations, clock: Clock, settings: Settings
    ) -> None:
        self._world = world
        self._api = api
        self._conversations = conversations
        self._clock = clock
        self._settings = settings
        self._status_written: dict[str, float] = {}

    async def reconcile(self, key: Key) -> Requeue:
        """Bring an object a step closer to what it should be."""
        match key.kind:
            case "DaskCluster":
                return await self._reconcile_cluster(key)
            case "DaskWorkerGroup":
                return await self._reconcile_group(key)
        return Requeue.on_change()

    def forget(self, uid: str) -> None:
        """Drop what is remembered of an object that is gone."""
        self._status_written.pop(uid, None)
        self._world.forget_group(uid)

    async def _reconcile_cluster(self, key: Key) -> Requeue:
        observed = self._world.observe_cluster(key)
        if observed is None or observed.cluster.meta.is_going:
            return Requeue.on_change()
        turn = self._turn(key, observed.cluster.meta)
        if not observed.cluster.status.get("phase"):
            # Before anything else: it tells clients that a controller acts.
            await self._write_status(turn, statuses.created_status(observed), observed.cluster.status)
            observed = self._world.observe_cluster(key) or observed
        plan = plan_cluster(observed, self._settings.policy)
        await self._carry_out(turn, plan)
        self._ask(turn, plan, observed.cluster)
        after = self._world.observe_cluster(key)
        if after is None or after.cluster.meta.is_going:
            return Requeue.on_change()
        status = statuses.cluster_status(after, plan, Outcome(tuple(turn.failures)))
        later = await self._write_status(turn, status, after.cluster.status)
        return self._requeue(turn, plan, later)

    async def _reconcile_group(self, key: Key) -> Requeue:
        observed = self._world.observe_group(key)
        if observed is None or observed.group.meta.is_going:
            return Requeue.on_change()
        turn = self._turn(key, observed.group.meta)
        plan = plan_group(observed, self._settings.policy)
        await self._carry_out(turn, plan)
        if observed.cluster is not None:
            self._ask(turn, plan, observed.cluster)
        after = self._world.observe_group(key)
        if after is None or after.group.meta.is_going:
            return Requeue.on_change()
        status = statuses.group_status(after, plan, Outcome(tuple(turn.failures)))
        later = await self._write_status(turn, status, after.group.status)
        return self._requeue(turn, plan, later)

    def _turn(self, key: Key, meta: Meta) -> _Turn:
        return _Turn(key, meta, asyncio.Semaphore(self._settings.writes_per_object))

    def _ask(self, turn: _Turn, plan: Plan, cluster: Cluster) -> None:
        endpoint = self._world.endpoint(cluster)
        if endpoint is not None:
            for question in plan.questions:
                self._conversations.ask(question, endpoint, turn.key, turn.meta.uid)

    def _requeue(self, turn: _Turn, plan: Plan, later: float | None) -> Requeue:
        waits = [later] if later is not None else []
        if plan.look_again is not None:
            waits.append(max(0.0, (plan.look_again - self._clock.now()).total_seconds()))
        failed = bool(turn.failures) or turn.has_conflicts
        return Requeue(min(waits, default=None), failed)

    async def _carry_out(self, turn: _Turn, plan: Plan) -> None:
        if plan.actions:
            await asyncio.gather(*(self._carry_out_one(turn, action) for action in plan.actions))

    async def _carry_out_one(self, turn: _Turn, action: Action) -> None:
        async with turn.slots:
            if turn.pods_are_refused and isinstance(action, Create) and action.body["kind"] == "Pod":
                return  # The next would be refused as well: over quota, against a policy, …
            try:
                await self._write(turn, action)
            except Conflict as error:
                logger.debug("%s: %s", turn.key, error)
                turn.has_conflicts = True
                await self._look_closely(turn, action)
            except Refused as error:
                if error.code == 404 and isinstance(action, Patch | JsonPatch):
                    turn.has_conflicts = True
                    await self._look_closely(turn, action)
                else:
                    self._note_failure(turn, action, error)
            except Unavailable as error:
                self._note_failure(turn, action, error)

    async def _write(self, turn: _Turn, action: Action) -> None:
        namespace = turn.key.namespace
        match action:
            case Create(body):
                await self._create(turn, body)
            case Apply(body):
                answer = await self._api.apply(BY_KIND[body["kind"]], namespace, body)
                self._world.see(answer)
                self._log(turn, "applied", body)
            case Patch(kind, name, uid, patch, version):
                metadata = {**(patch.get("metadata") or {}), "uid": uid}
                if version:
                    metadata["resourceVersion"] = version
                answer = await self._api.patch(
                    BY_KIND[kind], namespace, name, {**patch, "metadata": metadata}
                )
                self._world.see(answer)
                logger.info("%s: patched the %s %s.", turn.key, kind, name)
            case JsonPatch(kind, name, operations):
                answer = await self._api.json_patch(BY_KIND[kind], namespace, name, operations)
                self._world.see(answer)
                logger.info("%s: changed the %s %s.", turn.key, kind, name)
            case Delete(kind, name, uid, why):
                left = await self._api.delete(BY_KIND[kind], namespace, name, uid)
                if left is None:
                    self._world.store(kind).forget(uid)
                else:
                    self._world.see(left)
                logger.info("%s: deleted the %s %s, as %s.", turn.key, kind, name, why)

    async def _create(self, turn: _Turn, body: Mapping[str, Any]) -> None:
        kind, name = body["kind"], body["metadata"]["name"]
        try:
            answer = await self._api.create(BY_KIND[kind], turn.key.namespace, dict(body))
        except Unavailable:
            if kind == PODS.kind:
                self._world.undecided(turn.meta.uid, name)
            raise
        except ApiError:
            self._world.decided(turn.meta.uid, name)
            raise
        self._world.decided(turn.meta.uid, name)
        self._world.see(answer)
        self._log(turn, "created", body)

    def _log(self, turn: _Turn, done: str, body: Mapping[str, Any]) -> None:
        logger.info("%s: %s the %s %s.", turn.key, done, body["kind"], body["metadata"]["name"])

    def _note_failure(self, turn: _Turn, action: Action, error: ApiError) -> None:
        match action:
            case Create(body) | Apply(body):
                what = f"{body['kind']} {body['metadata']['name']}"
                if isinstance(error, Refused) and body["kind"] == PODS.kind:
                    turn.pods_are_refused = True
            case Patch(kind, name) | JsonPatch(kind, name) | Delete(kind, name):
                what = f"{kind} {name}"
        logger.warning("%s: %s: %s", turn.key, what, error)
        turn.failures.append(Failure(what, error.message, isinstance(error, Refused)))

    async def _look_closely(self, turn: _Turn, action: Action) -> None:
        """Read the object that was not as expected: the watch may be late."""
        if not isinstance(action, Patch | JsonPatch):
            return
        try:
            body = await self._api.get(BY_KIND[action.kind], turn.key.namespace, action.name)
        except ApiError as error:
            logger.debug("%s: %s", turn.key, error)
            return
        if body is not None:
            self._world.see(body)
        elif isinstance(action, Patch):
            self._world.store(action.kind).forget(action.uid)

    async def _write_status(self, turn: _Turn, desired: Status, present: Mapping[str, Any]) -> float | None:
        """Write a status if it differs; return in how many seconds, if it is better written later."""
        present = dict(present)
        removed = {name: None for name in OPTIONAL_FIELDS if name in present and name not in desired}
        if not removed and not statuses.differs(desired, present):
            return None
        now = self._clock.monotonic()
        wait = self._status_written.get(turn.meta.uid, -1e9) + self._settings.status_interval - now
        if wait > 0 and not removed and statuses.only_counts_differ(desired, present):
            return wait
        patch = {"metadata": {"uid": turn.meta.uid}, "status": {**desired, **removed}}
        try:
            answer = await self._api.patch(
                BY_KIND[turn.key.kind], turn.key.namespace, turn.key.name, patch, "status"
            )
        except Refused as error:
            if error.code != 404:
                logger.error("%s: its status was refused: %s", turn.key, error)
                turn.has_conflicts = True
            return None
        except ApiError as error:
            logger.warning("%s: its status could not be written: %s", turn.key, error)
            turn.has_conflicts = True
            return None
        self._world.see(answer)
        self._status_written[turn.meta.uid] = now
        return None
