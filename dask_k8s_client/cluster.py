# mypy: disallow-untyped-calls=False
"""`KubeCluster`: a Dask cluster on Kubernetes, as a Dask cluster manager."""

from __future__ import annotations

import asyncio
import datetime
import logging
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from typing import Any

from distributed.core import Status, rpc
from distributed.utils import Log, Logs, NoOpAwaitable, format_dashboard_link
from tornado.ioloop import IOLoop

from dask_k8s_client import display, groups, pods, reaper
from dask_k8s_client.adaptivity import Adaptivity
from dask_k8s_client.config import ClusterOptions, CreateMode
from dask_k8s_client.dask_side import LastingCluster
from dask_k8s_client.errors import JupyterNotEnabledError, ResourceTimeoutError, ValidationError
from dask_k8s_client.logs import cluster_logs
from dask_k8s_client.session import CLEAN_UP_SECONDS, Session
from dask_k8s_client.startup import scheduler_is_ready
from dask_k8s_client.views import Plain, Quiet, Terminal, View, suitable
from dask_k8s_models import make_worker_spec, names

logger = logging.getLogger(__name__)

Json = dict[str, Any]

FIRST_LOOK, LAST_LOOK = 0.5, 8.0
"""Seconds after which workers that don't agree with the pods are asked for, doubled each time."""


class KubeCluster(LastingCluster):
    """Launch a Dask cluster on Kubernetes, or connect to one.

    It creates a ``DaskCluster``, which the operator turns into a scheduler and workers, and connects to the
    scheduler: inside Kubernetes through its Service, from outside through forwarded ports.

    Parameters
    ----------
    name : str, optional
        Name of the cluster. ``{user}``, ``{uuid}`` and environment variables in it are filled in. Ignored in
        favour of ``custom_cluster_spec["metadata"]["name"]``.
    namespace : str, optional
        Defaults to the current context's, or the pod's own.
    image : str, optional
        Image of the scheduler and the workers.
    n_workers : int, optional
        Workers to start with; use `scale` later.
    resources : dict, optional
        ``requests`` and ``limits`` of the scheduler and of each worker.
    env : dict or list of dict, optional
        Environment of the scheduler and the workers, by name, or as Kubernetes writes it.
    worker_command : str or list of str, optional
        The command that starts a worker, ``dask worker`` by default.
    port_forward_cluster_ip : bool, optional
        True forwards ports even where the Service can be reached, False never does. By default ports are
        forwarded unless we run inside Kubernetes.
    create_mode : CreateMode, optional
        What to do if a cluster of that name exists: connect to it (default), or raise an error
        (``CREATE_ONLY``); or raise an error if none does (``CONNECT_ONLY``).
    shutdown_on_close : bool, optional
        Whether `close` deletes the cluster: by default if this object created it.
    idle_timeout : int, optional
        Seconds without work after which the operator deletes the cluster.
    resource_timeout : int, optional
        Seconds to wait for something to get into its expected state; progress restarts them. 60 by default.
    scheduler_service_type : str, optional
        ``ClusterIP`` (default), ``NodePort`` or ``LoadBalancer``.
    custom_cluster_spec : dict or str, optional
        A DaskCluster manifest, or the path of one, instead of what the other parameters describe.
    scheduler_forward_port : int, optional
        Local port for the dashboard if ports are forwarded; by default any that is free.
    jupyter : bool, optional
        Run a Jupyter server on the scheduler.
    loop : tornado.ioloop.IOLoop, optional
        The running event loop to use, as in other Dask cluster managers.
    asynchronous : bool
        Whether this is used in an event loop, with ``await``.
    quiet : bool
        Whether to show nothing.
    **kwargs
        Further arguments of `distributed.deploy.Cluster`.

    Raises
    ------
    ValidationError
        The name or the manifest isn't valid.
    ValueError
        The create mode doesn't allow what is; an unknown key in ``resources``.
    RuntimeError
        Dask's custom resource definitions aren't installed, or there are no credentials.
    SchedulerStartupError
        The scheduler can't run, with its logs or Kubernetes' reason.
    TimeoutError
        Something didn't get ready in time, e.g. because no operator runs.

    Examples
    --------
    >>> from dask_k8s_client import KubeCluster  # doctest: +SKIP
    >>> cluster = KubeCluster(name="foo", n_workers=2)  # doctest: +SKIP
    >>> client = cluster.get_client()  # doctest: +SKIP
    >>> cluster.scale(10)  # doctest: +SKIP
    >>> cluster.close()  # doctest: +SKIP

    See Also
    --------
    KubeCluster.from_name : Connect to an existing cluster.
    """

    def __init__(
        self,
        *,
        name: str | None = None,
        namespace: str | None = None,
        image: str | None = None,
        n_workers: int | None = None,
        resources: Json | None = None,
        env: list[Json] | Json | None = None,
        worker_command: list[str] | str | None = None,
        port_forward_cluster_ip: bool | None = None,
        create_mode: CreateMode | str | None = None,
        shutdown_on_close: bool | None = None,
        idle_timeout: int | None = None,
        resource_timeout: float | str | None = None,
        scheduler_service_type: str | None = None,
        custom_cluster_spec: Json | str | None = None,
        scheduler_forward_port: int | None = None,
        jupyter: bool | None = None,
        loop: IOLoop | None = None,
        asynchronous: bool = False,
        quiet: bool = False,
        **kwargs: Any,
    ) -> None:
        options = ClusterOptions.from_config(
            name=name,
            namespace=namespace,
            image=image,
            n_workers=n_workers,
            resources=resources,
            env=env,
            worker_command=worker_command,
            port_forward_cluster_ip=port_forward_cluster_ip,
            create_mode=create_mode,
            shutdown_on_close=shutdown_on_close,
            idle_timeout=idle_timeout,
            resource_timeout=resource_timeout,
            scheduler_service_type=scheduler_service_type,
            custom_cluster_spec=custom_cluster_spec,
            scheduler_forward_port=scheduler_forward_port,
            jupyter=jupyter,
        )
        self._options = options
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

        self._session = Session(options)
        self._view: View = Quiet()
        self._turn = asyncio.Lock()
        self._start_task: asyncio.Task[Any] | None = None
        self._background: set[asyncio.Task[Any]] = set()

        super().__init__(name=options.name, loop=loop, asynchronous=asynchronous, quiet=quiet, **kwargs)
        reaper.instances.add(self)

        if not self.called_from_running_loop:
            self._loop_runner.start()
            try:
                self.sync(self._start)
            except BaseException:
                # Ctrl-C cancels the start; wait until it has cleaned up behind itself.
                with suppress(Exception):
                    self.sync(self._close, callback_timeout=2 * CLEAN_UP_SECONDS)
                self._loop_runner.stop()
                raise

    # --- start ---

    def __await__(self) -> Generator[Any, Any, KubeCluster]:
        async def started() -> KubeCluster:
            await self._start()
            return self

        return started().__await__()

    async def _start(self) -> None:
        async with self._turn:
            if self.status == Status.running:
                return
            if self.status != Status.created:
                raise ValueError(f"The cluster {self.name} is closed; make a new KubeCluster.")
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

    async def _why_workers_are_missing(self) -> str:
        ailing = [row for row in display.rows(self._session.now) if row.state.level == "bad"]
        return "\n".join(f"{row.component}: {row.state}" for row in ailing)

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

    async def _close_comms(self) -> None:
        """End what runs between us and the scheduler."""
        self.status = Status.closing
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        with suppress(OSError, TimeoutError):
            await asyncio.wait_for(super()._close(), CLEAN_UP_SECONDS)

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    def abandon(self) -> None:
        """Let go of everything at the interpreter's exit, and delete nothing."""
        self.shutdown_on_close = False
        loop: Any = self.loop
        if self.status != Status.closed and loop.asyncio_loop.is_running():
            self.close(timeout=CLEAN_UP_SECONDS)
        self.status = Status.closed

    # --- workers ---

    def scale(self, n: int, worker_group: str = names.DEFAULT_GROUP) -> Any:
        """Scale a worker group to n workers, and end its autoscaling.

        Parameters
        ----------
        n : int
            Target number of workers.
        worker_group : str
            The group to scale.

        Examples
        --------
        >>> cluster.scale(10)  # doctest: +SKIP
        >>> cluster.scale(7, worker_group="high-mem-workers")  # doctest: +SKIP
        """
        return self._call(lambda: self._session.groups.scale(n, worker_group))

    def adapt(  # type: ignore[override]
        self, minimum: int | None = None, maximum: int | None = None, worker_group: str = names.DEFAULT_GROUP
    ) -> Any:
        """Let the operator choose the number of workers, by the work that is waiting.

        Parameters
        ----------
        minimum : int, optional
            Minimum number of workers, 0 if omitted.
        maximum : int, optional
            Maximum number of workers, unbounded if omitted.
        worker_group : str
            The group to adapt.

        Examples
        --------
        >>> cluster.adapt(minimum=1, maximum=10)  # doctest: +SKIP
        """
        least = int(minimum or 0)
        effect = self._call(lambda: self._session.groups.adapt(least, maximum, worker_group))
        return Adaptivity(least, maximum, effect)

    def add_worker_group(
        self,
        name: str | None = None,
        n_workers: int = 3,
        image: str | None = None,
        resources: Json | None = None,
        worker_command: list[str] | str | None = None,
        env: list[Json] | Json | None = None,
        custom_spec: Json | None = None,
        n: int | None = None,
    ) -> Any:
        """Create a further worker group.

        Parameters
        ----------
        name : str, optional
            Name of the group; may be omitted if there is a ``custom_spec``.
        n_workers : int
            Workers to start with; ``n`` is short for it.
        image, resources, worker_command, env : optional
            As for `KubeCluster`; what is omitted is taken from the cluster.
        custom_spec : dict, optional
            A worker spec, as `make_worker_spec` returns it, instead of what the other parameters describe.

        Returns
        -------
        str
            The group's name.

        Examples
        --------
        >>> cluster.add_worker_group("high-mem-workers", n_workers=5)  # doctest: +SKIP
        """
        if name is None and custom_spec is None:
            raise ValidationError("add_worker_group needs a name, or a custom_spec.")
        given = {"image": image, "resources": resources, "worker_command": worker_command, "env": env}
        given = {key: value for key, value in given.items() if value is not None}

        async def add() -> str:
            spec = custom_spec
            if spec is None:
                assert self._session.resource is not None
                known = {"worker_command": self.worker_command, **groups.defaults(self._session.resource)}
                spec = make_worker_spec(n_workers=n_workers if n is None else n, **{**known, **given})
            return await self._session.groups.add(name, spec)

        return self._call(add)

    def delete_worker_group(self, name: str) -> Any:
        """Delete a worker group.

        Parameters
        ----------
        name : str
            Name of the group.

        Examples
        --------
        >>> cluster.delete_worker_group("high-mem-workers")  # doctest: +SKIP
        """
        return self._call(lambda: self._session.groups.delete(name))

    def _call(self, function: Callable[[], Awaitable[Any]]) -> Any:
        """Call it and wait; in asynchronous use begin at once and return what can be awaited."""

        async def call() -> Any:
            return await function()

        if self.asynchronous:
            # Some callers, such as Dask's JupyterLab extension, never await.
            return self._in_background(call())
        return self.sync(call)

    # --- what it tells ---

    @property
    def requested(self) -> set[str]:
        """Names of the worker pods that exist."""
        return {pod["metadata"]["name"] for pod in self._session.now.workers}

    @property
    def plan(self) -> set[str]:
        """Names of the workers that the groups' replicas ask for; those without a pod yet are numbered."""
        now = self._session.now
        planned = set()
        for name, group in now.groups.items():
            members = sorted(pod["metadata"]["name"] for pod in now.workers if pods.group(pod) == name)
            missing = int(group["spec"]["worker"].get("replicas", 1)) - len(members)
            planned |= {*members, *(f"{name}-worker-{number}" for number in range(missing))}
        return planned

    def _log(self, log: str) -> None:
        self._cluster_manager_logs.append((datetime.datetime.now(), log))
        self._view.say(log)

    async def generate_rich_output(self) -> Any:
        """Return the state of the components as a `rich.panel.Panel`."""
        return Terminal(f"KubeCluster {self.name}").picture(self._session.now, is_over=True)

    def _repr_html_(self, cluster_status: str | None = None) -> str:
        now = self._session.now
        status = display.table_html(now) + display.pods_html(now) + (cluster_status or "")
        return str(super()._repr_html_(cluster_status=status))

    def _scaling_status(self) -> str:
        return f"<table>{display.table_html(self._session.now)}</table>"

    def get_logs(self) -> Any:  # type: ignore[override]
        """Return the logs of the scheduler and the workers by pod name.

        Examples
        --------
        >>> print(cluster.get_logs()["foo-scheduler"])  # doctest: +SKIP
        """
        return self.sync(self._get_logs)

    logs = get_logs

    async def _get_logs(self) -> Logs:  # type: ignore[override]
        texts = await cluster_logs(self._session.api, str(self.namespace), self.name)
        return Logs({name: Log(text) for name, text in texts.items()})

    @property
    def forwarded_dashboard_port(self) -> str | None:
        """The port of `dashboard_link`; None if there is no dashboard."""
        link = self._session.link
        return None if link is None or link.dashboard_port is None else str(link.dashboard_port)

    @property
    def dashboard_link(self) -> str:
        """The dashboard's address, as ``distributed.dashboard.link`` says."""
        link = self._session.link
        if link is None or link.dashboard_port is None:
            return ""
        host = f"[{link.host}]" if ":" in link.host else link.host
        return str(format_dashboard_link(host, self.forwarded_dashboard_port))

    @property
    def jupyter_link(self) -> str:
        """The address of the Jupyter server on the scheduler.

        Raises
        ------
        RuntimeError
            There is none.
        """
        if not self.jupyter:
            raise JupyterNotEnabledError("KubeCluster not started with jupyter enabled: pass jupyter=True.")
        return self.dashboard_link.replace("/status", "/jupyter/lab")

    @classmethod
    def from_name(cls, name: str, **kwargs: Any) -> KubeCluster:
        """Connect to an existing cluster; closing this object leaves it as it is.

        Parameters
        ----------
        name : str
            Name of the cluster.
        **kwargs
            Further arguments of `KubeCluster`.

        Raises
        ------
        ValueError
            There is no such cluster.

        Examples
        --------
        >>> cluster = KubeCluster.from_name("simple")  # doctest: +SKIP
        """
        return cls(
            name=name, **{"create_mode": CreateMode.CONNECT_ONLY, "shutdown_on_close": False, **kwargs}
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KubeCluster) and (self.name, self.namespace) == (other.name, other.namespace)

    __hash__ = LastingCluster.__hash__

    def __reduce__(self) -> Any:
        raise TypeError(
            "A KubeCluster can't be pickled. Pass its name and connect there: "
            f"KubeCluster.from_name({self.name!r}, namespace={self.namespace!r})."
        )
