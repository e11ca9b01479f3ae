# mypy: disallow-untyped-calls=False
"""A Dask cluster manager of one cluster on Kubernetes: it starts it, follows it, and lets go of it.

Its scheduler may be replaced meanwhile: it subscribes again.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from typing import Any, Self

from dask.utils import parse_timedelta
from distributed.core import Status, rpc
from distributed.deploy.cluster import Cluster
from distributed.exceptions import WorkerStartTimeoutError
from distributed.objects import SchedulerInfo
from distributed.security import Security
from distributed.utils import NoOpAwaitable

from dask_k8s_client import display, encryption, pods, reaper
from dask_k8s_client.config import ClusterOptions
from dask_k8s_client.errors import KubeClusterError, ValidationError
from dask_k8s_client.link import Link
from dask_k8s_client.session import CLEAN_UP_SECONDS, Session
from dask_k8s_client.startup import scheduler_is_ready
from dask_k8s_client.views import Plain, Quiet, View, suitable

logger = logging.getLogger(__name__)

FIRST_LOOK, LAST_LOOK = 0.5, 8.0
"""Seconds after which workers that don't agree with the pods are asked for, doubled each time."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds between two attempts to connect to a scheduler that should be there, doubled each time."""
NOT_REACHED = (OSError, TimeoutError, TypeError, ValueError, RuntimeError)
"""What Dask raises if a scheduler is away, or only one of us speaks TLS."""
RECHECK, RECHECK_REGISTERED = 1.0, 0.1
"""Seconds after which waiting for workers asks the scheduler anew, should a message have been missed, and
once enough have registered: it tells of them before they run, and not of their beginning to run."""


def closed(name: str) -> ValueError:
    """Return the error for whoever uses a cluster after its end."""
    return ValueError(f"The cluster {name} is closed; make a new KubeCluster.")


class Option:
    """An attribute of a cluster that is one of its options."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, cluster: Manager, owner: type) -> Any:
        return getattr(cluster._session.options, self._name)


class Manager(Cluster):
    """What `KubeCluster` does between its creation and its end.

    Parameters
    ----------
    options : ClusterOptions
        What is wanted.
    kubernetes : tuple of str or None
        Kubeconfig and context.
    security : Security or dict, optional
        How to speak to the scheduler; by default what ``dask.config`` says.
    **kwargs
        Arguments of `distributed.deploy.Cluster`.
    """

    namespace = Option()
    image = Option()
    n_workers = Option()
    resources = Option()
    env = Option()
    worker_command = Option()
    port_forward_cluster_ip = Option()
    create_mode = Option()
    idle_timeout = Option()
    resource_timeout = Option()
    scheduler_service_type = Option()
    scheduler_forward_port = Option()
    jupyter = Option()
    tls = Option()

    def __init__(
        self,
        options: ClusterOptions,
        kubernetes: tuple[str | None, str | None] = (None, None),
        security: Security | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.security = encryption.checked(security)
        self._security_is_given = security is not None
        self._session = Session(options, *kubernetes)
        self._view: View = Quiet()
        self._lifecycle = asyncio.Lock()
        self._start_task: asyncio.Task[Any] | None = None
        self._close_task: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[Any]] = set()
        self._workers_changed = asyncio.Event()

        super().__init__(name=options.name, **kwargs)
        reaper.instances.add(self)

        self._is_awaited = self.called_from_running_loop
        if not self._is_awaited:
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

    @property
    def shutdown_on_close(self) -> bool | None:
        """Whether `close` deletes the cluster; None until that is decided."""
        return self._session.shutdown_on_close

    @shutdown_on_close.setter
    def shutdown_on_close(self, value: bool) -> None:
        self._session.shutdown_on_close = value

    # --- start ---

    def __await__(self) -> Generator[Any, Any, Self]:
        async def started() -> Self:
            await self._start()
            return self

        return started().__await__()

    async def _start(self) -> None:
        async with self._lifecycle:
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
        try:
            await self._read_certificate()
            await self._connect(link)
        except BaseException:
            await self._session.undo()
            raise
        self._in_background(self._follow_scheduler())
        self._in_background(self._follow_pods())
        # The live view is over; what is left to say is said in lines.
        self._view = Quiet() if self.quiet else Plain()
        self._log(f"Ready, dashboard available at {self.dashboard_link}")

    async def _read_certificate(self) -> None:
        """Take the certificate of the present scheduler, unless the user has one."""
        session = self._session
        if not self._security_is_given:
            self.security = await encryption.current(
                session.api, str(session.namespace), session.now.scheduler, self.security
            )

    async def _connect(self, link: Link) -> None:
        """Subscribe to the scheduler, which may begin to listen some time after its pod has become ready."""
        timeout = self._session.options.resource_timeout
        deadline = time.monotonic() + timeout
        pause = FIRST_PAUSE
        while True:
            self._call_at(link.address)
            try:
                await asyncio.wait_for(super()._start(), max(deadline - time.monotonic(), FIRST_PAUSE))
                return
            except TypeError as error:
                raise ValidationError(
                    f"The scheduler at {link.address} speaks TLS: pass security=distributed.Security(...), "
                    "or set distributed.comm.tls in Dask's configuration."
                ) from error
            except (OSError, TimeoutError) as error:
                problem = error
            await self.scheduler_comm.close_rpc()
            left = deadline - time.monotonic()
            if left <= 0:
                raise await self._session.unreachable(link, problem) from problem
            await asyncio.sleep(min(pause, left))
            pause = min(2 * pause, LONGEST_PAUSE)

    def _call_at(self, address: str) -> None:
        self.scheduler_comm: Any = rpc(address, connection_args=self.security.get_connection_args("client"))

    def _in_background(self, coroutine: Any) -> asyncio.Task[Any]:
        task = asyncio.create_task(coroutine)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    # --- follow ---

    async def _follow_scheduler(self) -> None:
        """Subscribe again each time that the connection to the scheduler is lost."""
        while self.status == Status.running and self._watch_worker_status_task is not None:
            await asyncio.wait([self._watch_worker_status_task])
            if self.status != Status.running:
                return
            self._set_info({**self.scheduler_info, "workers": {}})
            if not await self._resubscribe():
                self._log(f"The cluster {self.name} doesn't exist any more.")
                return

    async def _resubscribe(self) -> bool:
        pause = FIRST_PAUSE
        while await self._scheduler_is_back():
            try:
                await self._subscribe()
                return True
            except NOT_REACHED as error:
                problem = f"The scheduler of {self.name} can't be reached again yet: {error}"
            logger.debug(problem)
            if pause < LONGEST_PAUSE <= 2 * pause:
                self._log(problem)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        return False

    async def _subscribe(self) -> None:
        assert self.scheduler_comm is not None
        assert self._session.link is not None
        await self.scheduler_comm.close_rpc()
        self._call_at(self._session.link.renew())
        comm = await self.scheduler_comm.live_comm()
        comm.name = "Cluster worker status"
        await comm.write({"op": "subscribe_worker_status"})
        self._set_info(await comm.read())
        self._watch_worker_status_comm = comm
        self._watch_worker_status_task = asyncio.ensure_future(self._watch_worker_status(comm))

    async def _scheduler_is_back(self) -> bool:
        observer = self._session.observer
        now = await observer.until(lambda seen: seen.cluster is None or scheduler_is_ready(seen))
        if now.cluster is None:
            return False
        try:
            await self._read_certificate()
        except KubeClusterError as error:
            self._log(str(error))
        return True

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
                with suppress(*NOT_REACHED):
                    await self._running_workers()
                self._workers_changed.set()
                delay *= 2

    def _set_info(self, info: dict[str, Any]) -> None:
        self.scheduler_info = SchedulerInfo(info)
        self._workers_changed.set()

    def _update_worker_status(self, op: str, msg: Any) -> None:
        """Take what the scheduler tells, and change nothing that another thread may be reading."""
        workers = dict(self.scheduler_info["workers"])
        if op == "add":
            workers |= msg.pop("workers")
            self._set_info({**self.scheduler_info, **msg, "workers": workers})
        else:
            # It may have left between our subscription and the first message.
            workers.pop(msg, None)
            self._set_info({**self.scheduler_info, "workers": workers})

    async def _wait_for_workers(self, n_workers: int = 0, timeout: float | str | None = None) -> None:
        seconds = None if timeout is None else parse_timedelta(timeout, "s")
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            self._workers_changed.clear()
            running = await self._running_workers()
            if running >= n_workers:
                return
            left = RECHECK if len(self.scheduler_info["workers"]) < n_workers else RECHECK_REGISTERED
            if deadline is not None:
                left = min(deadline - time.monotonic(), left)
            if left <= 0:
                error = WorkerStartTimeoutError(running, n_workers, seconds or 0)
                if reason := display.why_workers_are_missing(self._session.now, len(self.plan), n_workers):
                    error.add_note(reason)
                raise error
            try:
                await asyncio.wait_for(self._workers_changed.wait(), left)
            except TimeoutError:
                continue

    async def _running_workers(self) -> int:
        """Ask the scheduler; when it is away nobody works."""
        assert self.scheduler_comm is not None
        try:
            self.scheduler_info = SchedulerInfo(await self.scheduler_comm.identity())
        except (OSError, TimeoutError):
            return 0
        workers = self.scheduler_info["workers"].values()
        return sum(1 for worker in workers if worker["status"] == Status.running.name)

    # --- close ---

    def close(self, timeout: float | None = 3600) -> Any:
        """Let go of the cluster, and delete it if ``shutdown_on_close``.

        It works from any event loop. If the one that the cluster was made in has ended, the cluster is
        deleted without waiting until it is gone.

        Parameters
        ----------
        timeout : float
            Seconds to wait until it is deleted.

        Raises
        ------
        TimeoutError
            It still exists then.
        KubeClusterError
            It could not be deleted: another `close` tries again, and the interpreter's exit.
        """
        loop: Any = self.loop
        if self.status == Status.closed:
            pass
        elif self.asynchronous:
            return self._close(timeout)
        elif not loop.asyncio_loop.is_running():
            self._close_without_loop(loop.asyncio_loop)
        elif self._is_awaited and asyncio._get_running_loop() is not None:  # another one than ours
            closing = asyncio.run_coroutine_threadsafe(self._close(timeout), loop.asyncio_loop)
            return asyncio.wrap_future(closing)
        else:
            limit = None if timeout is None else timeout + 2 * CLEAN_UP_SECONDS
            try:
                self.sync(self._close, timeout, callback_timeout=limit)
            finally:
                self._loop_runner.stop()
        return NoOpAwaitable() if self._is_awaited else None

    async def _close(self, timeout: float | None = 3600) -> None:
        """Close, or wait until it is closed that somebody has asked for; whoever gives up stops nothing."""
        if self._start_task is not None and self._start_task is not asyncio.current_task():
            self._start_task.cancel()
        if self._close_task is None or self._close_task.done():
            self._close_task = asyncio.create_task(self._close_once(timeout), name=f"{self.name}: close")
        await asyncio.shield(self._close_task)

    async def _close_once(self, timeout: float | None) -> None:
        async with self._lifecycle:
            try:
                if self.status not in (Status.closed, Status.created):
                    await self._close_comms()
                    await self._session.close(timeout)
            finally:
                self._end()

    def _close_without_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Delete the cluster if it is ours; what is open is let go of if the event loop runs again."""
        try:
            self._session.delete_now()
        finally:
            self._end()
        if self._session.keeper is not None and not loop.is_closed():
            for task in (self._session.keeper, *self._background):
                task.cancel()

    async def _close_comms(self) -> None:
        """End what runs between us and the scheduler, whatever that says."""
        self.status = Status.closing
        self._set_info({**self.scheduler_info, "workers": {}})
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        ending: Any = asyncio.wait_for(super()._close(), CLEAN_UP_SECONDS)
        for problem in filter(None, await asyncio.gather(ending, return_exceptions=True)):
            logger.debug("The connection to the scheduler of %s didn't end well: %r", self.name, problem)
        self.status = Status.closing

    def _end(self) -> None:
        """Be closed, unless the cluster could not be deleted: then `close` tries again."""
        self.status = Status.closing if self._session.is_to_be_deleted else Status.closed
        self._show_end()

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

    def sync(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call it in the cluster's event loop; there is nothing to wait for if that doesn't run any more."""
        loop: Any = self.loop
        if not loop.asyncio_loop.is_running():
            raise RuntimeError(
                f"The event loop that the cluster {self.name} was made in has ended; "
                f"KubeCluster.from_name({self.name!r}) connects from another."
            )
        return super().sync(func, *args, **kwargs)

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
        self._view.log(log)
