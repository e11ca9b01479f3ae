"""Leader election: of several replicas of the controller, the one that holds the Lease acts.

https://kubernetes.io/docs/concepts/architecture/leases/. The others watch, so as to take over at once.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any

from dask_k8s_controller.kubernetes.api import Api
from dask_k8s_controller.kubernetes.errors import ApiError, Conflict
from dask_k8s_controller.kubernetes.resources import LEASES
from dask_k8s_controller.runtime.clock import Clock, Timer
from dask_k8s_controller.settings import LeaderElection, Limits

logger = logging.getLogger(__name__)

SOONER = 1 / 5
"""What has failed is tried again after this share of the usual wait: one failed request costs nothing."""


def limits(settings: LeaderElection) -> Limits:
    """Return the limits of requests about a Lease: time is left for others, should one hang."""
    return Limits(concurrency=1, timeout=settings.deadline / 4, attempts=1)


@dataclass
class LeaderLease:
    """Holds a Lease, or waits for it."""

    api: Api
    """Where the Lease is; with `limits` of its own."""
    clock: Clock
    """This process's clock. It is never compared with times that others wrote: their clocks may differ."""
    settings: LeaderElection
    namespace: str
    """Where the Lease is."""
    _: KW_ONLY
    on_lead: Callable[[], None]
    on_follow: Callable[[], None]
    """Called when this replica ceases to lead, as ``on_lead`` when it begins to: whatever is under way then
    has to be given up at once, as another may act from now on."""

    def __post_init__(self) -> None:
        self.identity = f"{socket.gethostname()}_{secrets.token_hex(4)}"
        self.is_leading = False
        self._expiry: Timer | None = None
        self._seen: tuple[Any, Any] | None = None
        self._seen_at = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to take part."""
        self._task = asyncio.create_task(self._run(), name="leader election")

    async def stop(self) -> None:
        """Stop taking part, and release the Lease, so that another replica takes over at once."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self.is_leading:
            self._follow()
            try:
                lease = await self.api.get(LEASES, self.namespace, self.settings.name)
                if lease is not None and (lease.get("spec") or {}).get("holderIdentity") == self.identity:
                    await self._write(lease, {"holderIdentity": "", "leaseDurationSeconds": 1})
            except ApiError as error:
                logger.warning("The Lease could not be released: %s", error)

    async def step(self) -> bool:
        """Renew the Lease, or take it if nobody holds it; return whether nothing went wrong."""
        try:
            await self._try_to_lead()
        except Conflict:
            logger.debug("Another replica was quicker to write the Lease.")
            return False
        except ApiError as error:
            logger.warning("The Lease can't be renewed: %s", error)
            return False
        except Exception:
            logger.exception("The Lease can't be renewed; it is tried again.")
            return False
        return True

    async def _run(self) -> None:
        while True:
            begun = self.clock.monotonic()
            pause = self.settings.renewal * (1 if await self.step() else SOONER)
            await asyncio.sleep(max(0.0, begun + pause - self.clock.monotonic()))

    async def _try_to_lead(self) -> None:
        lease = await self.api.get(LEASES, self.namespace, self.settings.name)
        if lease is None:
            nobodys = {
                "apiVersion": LEASES.api_version,
                "kind": LEASES.kind,
                "metadata": {"name": self.settings.name, "namespace": self.namespace},
                "spec": {"holderIdentity": ""},
            }
            lease = await self.api.create(LEASES, self.namespace, nobodys)
        spec = lease.get("spec") or {}
        now = self.clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        changes: dict[str, Any] = {"renewTime": now}
        if spec.get("holderIdentity") != self.identity:
            if not self._has_expired(spec):
                if self.is_leading:
                    self._follow()
                return
            changes |= {
                "holderIdentity": self.identity,
                "acquireTime": now,
                "leaseDurationSeconds": max(1, round(self.settings.duration)),
                "leaseTransitions": int(spec.get("leaseTransitions") or 0) + bool(spec.get("acquireTime")),
            }
        sent = self.clock.monotonic()
        await self._write(lease, changes)
        self._lead(sent)

    def _has_expired(self, spec: dict[str, Any]) -> bool:
        """Whether the holder has shown no sign of life for the duration, by our own clock."""
        if not spec.get("holderIdentity"):
            return True
        seen = (spec.get("holderIdentity"), spec.get("renewTime"))
        if seen != self._seen:
            self._seen, self._seen_at = seen, self.clock.monotonic()
        duration = float(spec.get("leaseDurationSeconds") or self.settings.duration)
        return self.clock.monotonic() - self._seen_at > duration

    async def _write(self, lease: dict[str, Any], changes: dict[str, Any]) -> None:
        version = {"resourceVersion": lease["metadata"]["resourceVersion"]}
        patch = {"metadata": version, "spec": changes}
        await self.api.patch(LEASES, self.namespace, self.settings.name, patch)

    def _lead(self, renewed_at: float) -> None:
        # A request to renew it may hang: the time limit doesn't wait for that.
        self._cancel_expiry()
        left = renewed_at + self.settings.deadline - self.clock.monotonic()
        self._expiry = self.clock.call_later(max(0.0, left), self._expire)
        if not self.is_leading:
            self.is_leading = True
            logger.info("This replica (%s) leads.", self.identity)
            self.on_lead()

    def _expire(self) -> None:
        logger.error("The Lease has not been renewed for too long: this replica acts no more.")
        self._follow()

    def _cancel_expiry(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None

    def _follow(self) -> None:
        self._cancel_expiry()
        self.is_leading = False
        logger.info("This replica (%s) no longer leads.", self.identity)
        self.on_follow()
