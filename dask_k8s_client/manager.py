# mypy: disallow-untyped-calls=False
"""A Dask cluster manager of one cluster on Kubernetes: it starts it, follows it, and lets go of it."""

from __future__ import annotations

import asyncio
import datetime
import logging
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from typing import Any, Self

from distributed.core import Status, rpc
from distributed.utils import NoOpAwaitable

from dask_k8s_client import display, groups, pods, reaper
from dask_k8s_client.config import ClusterOptions
from dask_k8s_client.dask_side import LastingCluster
from dask_k8s_client.errors import KubeClusterError, ResourceTimeoutError
from dask_k8s_client.session import CLEAN_UP_SECONDS, Session
from dask_k8s_client.startup import scheduler_is_ready
from dask_k8s_client.views import Plain, Quiet, View, suitable

logger = logging.getLogger(__name__)

FIRST_LOOK, LAST_LOOK = 0.5, 8.0
"""Seconds after which workers that don't agree with the pods are asked for, doubled each time."""


def closed(name: str) -> ValueError:
    """Return the error for whoever uses a cluster after its end."""
    return ValueError(f"The cluster {name} is closed; make a new KubeCluster.")


class Manager(LastingCluster):
    """What `KubeCluster` does between its creation and its end.

    Parameters
    ----------
    options : ClusterOptions
        What is wanted.
    kubernetes : tuple of str or None
        Kubeconfig and context.
    **kwargs
        Arguments of `distributed.deploy.Cluster`.
    """

    def __init__(
        self, options: ClusterOptions, kubernetes: tuple[str | None, str | None], **kwargs: Any
    ) -> None:
        self.namespace = options.namespace
        self.image = options.image
        self.n_workers = options.n_workers
        self.resources = options.resources
        self.env = options.env
        self.worker_command = options.worker_command
        self.port_forward_cluster_ip = options.port_forward_cluster_ip
        self.create_mode = options.create_mode
        self.shutdown_on_close = options.shutdown_on_close
        self.idle_timeout = options.idle_timeout
        self.scheduler_service_type = options.scheduler_service_type
        self.scheduler_forward_port = options.scheduler_forward_port
        self.jupyter = options.jupyter

        self._session = Session(options, *kubernetes)
        self._view: View = Quiet()
        self._turn = asyncio.Lock()
        self._start_task: asyncio.Task[Any] | None = None
        self._background: set[asyncio.Task[Any]] = set()

        super().__init__(name=options.name, **kwargs)
        reaper.instances.add(self)

        if not self.called_from_running_loop:
            self._loop_runner.start()
            try:
                self.sync(self._start)
            except BaseException as error:
                # Ctrl-C cancels the start; wait until it has cleaned up behind itself.
                with suppress(Exception):
                    self.sync(self._close, callback_timeout=2 * CLEAN_UP_SECONDS)
                self._loop_runner.stop()
                if isinstance(error, KubeClusterError):
                    logger.debug("The cluster %s could not be started.", self.name, exc_info=True)
                    # It says what happened in Kubernetes; where we noticed it tells a user nothing.
                    raise error.with_traceback(None) from None
                raise

    # --- start ---

    def __await__(self) -> Generator[Any, Any, Self]:
        async def started() -> Self:
            await self._start()
            return self

        return started().__await__()

    async def _start(self) -> None:
        async with self._turn:
            if self.status == Status.running:
                return
            if self.status != Status.created:
                raise closed(self.name)
            self._start_task = asyncio.current_task()
            try:
                await self._open()
            except BaseException:
                await self._close_comms()
                self.status = Status.closed
                raise
            finally:
                self._start_task = None

    async def _open(self) -> None:
        self.status = Status.starting
        self._view = suitable(f"KubeCluster {self.name}", quiet=self.quiet)
        link = await self._session.open(self._log, self._view)
        self._read_session()
        try:
            self.scheduler_comm = rpc(link.address)
            timeout = self._session.options.resource_timeout
            try:
                await asyncio.wait_for(super()._start(), timeout)
            except (OSError, TimeoutError) as error:
                raise ResourceTimeoutError(
                    f"The scheduler runs, but can't be reached at {link.address} within {timeout:g} seconds: "
                    f"{error or type(error).__name__}. "
                    "With port_forward_cluster_ip=True it is reached through the Kubernetes API server."
                ) from error
        except BaseException:
            await self._session.undo()
            raise
        self._in_background(self._follow_scheduler())
        self._in_background(self._follow_pods())
        # The live view is over; what is left to say is said in lines.
        self._view = Quiet() if self.quiet else Plain()
        self._log(f"Ready, dashboard available at {self.dashboard_link}")

    def _read_session(self) -> None:
        """Take from what was found what it knows better than the options."""
        cluster = self._session.resource
        assert cluster is not None
        known = groups.defaults(cluster)
        self.namespace = self._session.namespace
        self.shutdown_on_close = self._session.is_ours
        self.image = known.get("image", self.image)
        self.resources = known.get("resources")
        self.env = known.get("env") or {}
        self.n_workers = cluster["spec"]["worker"].get("replicas", self.n_workers)
        self.jupyter = groups.runs_jupyter(cluster)

    def _in_background(self, coroutine: Any) -> asyncio.Task[Any]:
        task = asyncio.create_task(coroutine)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def _scheduler_is_back(self) -> bool:
        observer = self._session.observer
        now = await observer.until(lambda seen: seen.cluster is None or scheduler_is_ready(seen))
        return now.cluster is not None

    async def _follow_pods(self) -> None:
        """Ask for the workers when the pods have changed and the scheduler didn't tell.

        A scheduler keeps one subscription: a second cluster manager's silently replaces the first one's.
        """
        observer = self._session.observer
        delay = FIRST_LOOK
        while True:
            pulse = observer.pulse
            if pods.are_workers(self._session.now.workers, self.observed):
                delay = FIRST_LOOK
                await pulse.wait()
                continue
            if delay > LAST_LOOK:  # It won't change by itself: these workers have names of their own.
                await pulse.wait()
                delay = FIRST_LOOK
            await asyncio.sleep(delay)
            if not pods.are_workers(self._session.now.workers, self.observed):
                await self._running_workers()
                self._workers_changed.set()
                delay *= 2

    async def _why_workers_are_missing(self, n_workers: int) -> str:
        ailing = [row for row in display.rows(self._session.now) if row.state.level == "bad"]
        reasons = [f"{row.component}: {row.state}" for row in ailing]
        if n_workers > len(self.plan):
            reasons.append(f"The worker groups ask for {len(self.plan)} in all; `scale` asks for more.")
        return "\n".join(reasons)

    # --- close ---

    def close(self, timeout: float | None = 3600) -> Any:
        """Let go of the cluster, and delete it if ``shutdown_on_close``.

        Parameters
        ----------
        timeout : float
            Seconds to wait until it is deleted.

        Raises
        ------
        TimeoutError
            It still exists then.
        """
        if self.status == Status.closed:
            return NoOpAwaitable() if self.asynchronous else None
        if self.asynchronous:
            return self._close(timeout)
        limit = None if timeout is None else timeout + 2 * CLEAN_UP_SECONDS
        try:
            self.sync(self._close, timeout, callback_timeout=limit)
        finally:
            self._loop_runner.stop()
        return None

    async def _close(self, timeout: float | None = 3600) -> None:
        if self._start_task is not None and self._start_task is not asyncio.current_task():
            self._start_task.cancel()
        async with self._turn:
            if self.status == Status.closed:
                return
            if self.status == Status.created:
                self.status = Status.closed
                return
            self._session.is_ours = self.shutdown_on_close
            try:
                await self._close_comms()
                await self._session.close(timeout)
            finally:
                self.status = Status.closed
                self._show_end()

    async def _close_comms(self) -> None:
        """End what runs between us and the scheduler."""
        self.status = Status.closing
        self._set_info({**self.scheduler_info, "workers": {}})
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        with suppress(OSError, TimeoutError):
            await asyncio.wait_for(super()._close(), CLEAN_UP_SECONDS)

    def _show_end(self) -> None:
        """Let a notebook's widget not go on telling what was."""
        widget = getattr(self, "_cached_widget", None)
        if widget is None:
            return
        with suppress(Exception):  # a kernel that ends has nobody to show it to
            widget.children[0].value = self._repr_html_()
            widget.children[1].children[0].value = self._scaling_status()

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    def abandon(self) -> None:
        """Let go of everything at the interpreter's exit, and delete nothing."""
        self.shutdown_on_close = False
        loop: Any = self.loop
        if self.status != Status.closed and loop.asyncio_loop.is_running():
            self.close(timeout=CLEAN_UP_SECONDS)
        self.status = Status.closed

    # --- work ---

    def _call(self, function: Callable[[], Awaitable[Any]]) -> Any:
        """Call it and wait; in asynchronous use begin at once and return what can be awaited."""

        async def call() -> Any:
            return await function()

        self._require_running()
        if self.asynchronous:
            # Some callers, such as Dask's JupyterLab extension, never await.
            return self._in_background(call())
        return self.sync(call)

    def _require_running(self) -> None:
        if self.status == Status.closed:
            raise closed(self.name)

    def _log(self, log: str) -> None:
        self._cluster_manager_logs.append((datetime.datetime.now(), log))
        self._view.say(log)
