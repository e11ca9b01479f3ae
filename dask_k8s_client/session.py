"""One Dask cluster as this process deals with it: created or found, watched, linked, deleted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from dask_k8s_client import raw, reaper
from dask_k8s_client.api import Api
from dask_k8s_client.config import ClusterOptions, CreateMode
from dask_k8s_client.create import create_or_connect, manifest, until_deleted
from dask_k8s_client.errors import (
    AlreadyExistsError,
    ConflictError,
    KubeClusterError,
    NotFoundError,
    ResourceTimeoutError,
)
from dask_k8s_client.groups import Groups, defaults, runs_jupyter
from dask_k8s_client.link import Link
from dask_k8s_client.observe import Observed, Observer
from dask_k8s_client.pods import restarts
from dask_k8s_client.resources import CLUSTERS
from dask_k8s_client.startup import scheduler_is_ready
from dask_k8s_client.views import View
from dask_k8s_client.wait import failure_with_logs, until_connectable
from dask_k8s_credentials import CredentialsError

logger = logging.getLogger(__name__)

Json = dict[str, Any]

CLEAN_UP_SECONDS = 10.0
"""How long cleaning up after a failed start may take."""


class Session:
    """A cluster from its creation to its deletion, without Dask.

    Parameters
    ----------
    options : ClusterOptions
        What is wanted.
    kubeconfig, context : str, optional
        Which Kubernetes, see `dask_k8s_credentials.load`.
    scheduler_port : int, optional
        Local port for the scheduler if ports are forwarded; any that is free if omitted.

    Raises
    ------
    ValidationError
        Kubernetes would refuse the cluster that the options describe.

    Attributes
    ----------
    namespace : str or None
        None until it is known.
    resource : dict or None
        The DaskCluster as it was created or found.
    shutdown_on_close : bool or None
        Whether the cluster is deleted when the session closes; None until that is decided.
    link : Link or None
        The way to the scheduler.
    keeper : asyncio.Task or None
        Lets go of the cluster when it is cancelled.
    """

    def __init__(
        self,
        options: ClusterOptions,
        kubeconfig: str | None = None,
        context: str | None = None,
        *,
        scheduler_port: int | None = None,
    ) -> None:
        self.options = options
        self._manifest = None if options.create_mode is CreateMode.CONNECT_ONLY else manifest(options)
        self._kubernetes = (kubeconfig, context)
        self._local_ports = (scheduler_port, options.scheduler_forward_port)
        self.name = options.name
        self.namespace = options.namespace
        self.shutdown_on_close = options.shutdown_on_close
        self.resource: Json | None = None
        self.link: Link | None = None
        self._api: Api | None = None
        self._observer: Observer | None = None
        self.keeper: asyncio.Task[None] | None = None
        self._leftover: reaper.Leftover | None = None

    async def open(self, log: Callable[[str], None], view: View) -> Link:
        """Create or find the cluster and wait until its scheduler can be reached.

        Parameters
        ----------
        log : callable
            Told each step.
        view : View
            Shows the components meanwhile.

        Returns
        -------
        Link
            Where the scheduler is.

        Raises
        ------
        KubeClusterError
            With the reason; what was half-created is deleted, unless ``shutdown_on_close`` is False.
        """
        try:
            return await self._open(log, view)
        except BaseException:
            await self.undo()
            raise

    async def _open(self, log: Callable[[str], None], view: View) -> Link:
        self._api = api = await Api(*self._kubernetes)
        # When the event loop ends before anybody closes us, its tasks are cancelled, and this one lets go.
        self.keeper = asyncio.create_task(self._keep(), name=f"{self.name}: keep")
        self.namespace = namespace = self.namespace or api.namespace
        is_created = await self._create_or_connect(api, namespace)
        assert self.resource is not None
        self.options = self._as_it_is(self.resource)
        log(f"Created cluster {self.name}" if is_created else f"Connecting to existing cluster {self.name}")
        self._observer = observer = Observer(api, namespace, self.resource)
        observer.start()
        async with _shown(view, observer):
            await until_connectable(observer, self.options.resource_timeout, log)
            log("Connecting to scheduler")
            self.link = await Link.open(
                observer,
                self.options.port_forward_cluster_ip,
                self._local_ports,
                self.options.resource_timeout,
            )
        observer.settle()
        return self.link

    async def _create_or_connect(self, api: Api, namespace: str) -> bool:
        """Learn what the cluster is, even if we are cancelled meanwhile: it may have to be deleted."""
        finding = asyncio.ensure_future(create_or_connect(api, namespace, self.options, self._manifest))
        try:
            await asyncio.shield(finding)
        except asyncio.CancelledError:
            await asyncio.wait([finding], timeout=CLEAN_UP_SECONDS)
            raise
        finally:
            if finding.done() and not finding.cancelled() and finding.exception() is None:
                self.resource, is_created = finding.result()
                self.shutdown_on_close = (
                    is_created if self.shutdown_on_close is None else self.shutdown_on_close
                )
                self._remember(self.resource)
            else:
                finding.cancel()
        return is_created

    def _as_it_is(self, cluster: Json) -> ClusterOptions:
        """Return the options with what the cluster knows better."""
        known = defaults(cluster)
        return replace(
            self.options,
            namespace=self.namespace,
            image=known.get("image", self.options.image),
            resources=known.get("resources"),
            env=known.get("env") or {},
            n_workers=cluster["spec"]["worker"].get("replicas", self.options.n_workers),
            jupyter=runs_jupyter(cluster),
            tls=cluster["spec"].get("tls"),
        )

    async def unreachable(self, link: Link, problem: BaseException) -> KubeClusterError:
        """Return why a scheduler that should be there can't be reached: with its log, if it isn't well."""
        timeout = self.options.resource_timeout
        pod = self.now.scheduler
        if pod is None or not scheduler_is_ready(self.now) or restarts(pod):
            return await failure_with_logs(self.observer, self.now, timeout)
        return ResourceTimeoutError(
            f"The scheduler runs, but can't be reached at {link.address} within {timeout:g} seconds: "
            f"{problem or type(problem).__name__}."
            + (
                ""
                if link.is_forwarded
                else " With port_forward_cluster_ip=True it is reached through the Kubernetes API server."
            )
        )

    def _remember(self, resource: Json) -> None:
        """Have the cluster deleted at the interpreter's exit, if it is ours."""
        path = CLUSTERS.path(self.namespace, self.name)
        api = self.api
        self._leftover = reaper.Leftover(api.credentials, api.loader, path, resource["metadata"]["uid"])
        if self.shutdown_on_close:
            reaper.remember(self._leftover)

    def _forget(self) -> None:
        if self._leftover is not None:
            reaper.forget(self._leftover)
            self._leftover = None

    @property
    def is_to_be_deleted(self) -> bool:
        """Whether the cluster is ours, and the API server hasn't accepted yet that it goes."""
        return bool(self.shutdown_on_close) and self._leftover is not None

    @property
    def api(self) -> Api:
        """The connection to the API server."""
        if self._api is None:
            raise ValueError(f"The cluster {self.name} isn't running.")
        return self._api

    @property
    def observer(self) -> Observer:
        """What watches the cluster."""
        if self._observer is None:
            raise ValueError(f"The cluster {self.name} isn't running.")
        return self._observer

    @property
    def now(self) -> Observed:
        """What is known of the cluster at this moment."""
        observer = self._observer  # Another thread may close us just now.
        return observer.now if observer is not None else Observed(self.name)

    @property
    def groups(self) -> Groups:
        """The cluster's worker groups."""
        return Groups(self.api, str(self.namespace), self.name, self.resource)

    async def close(self, timeout: float | None) -> None:
        """Delete the cluster if it is ours, and let go of it in any case.

        Parameters
        ----------
        timeout : float
            Seconds to wait until it is gone.

        Raises
        ------
        ResourceTimeoutError
            It still exists then.
        KubeClusterError
            It could not be deleted; another `close` tries again.
        """
        if self._api is None:
            await asyncio.to_thread(self.delete_now)
            return
        if not self.shutdown_on_close:
            self._forget()
        try:
            if self.shutdown_on_close and self.resource is not None:
                async with asyncio.timeout(timeout):
                    await self._delete(self.resource)
        except TimeoutError as error:
            raise ResourceTimeoutError(
                f"The cluster {self.name} still exists after {timeout} seconds; "
                f"`kubectl describe daskcluster {self.name} -n {self.namespace}` may tell why."
            ) from error
        finally:
            await self._let_go()

    def delete_now(self) -> None:
        """Delete the cluster if it is ours: without an event loop, and without waiting until it is gone.

        Raises
        ------
        KubeClusterError
            It could not be deleted.
        """
        try:
            if self.shutdown_on_close and self._leftover is not None:
                reaper.delete(self._leftover)
        except (OSError, ValueError, CredentialsError) as error:
            raise KubeClusterError(f"The cluster {self.name} could not be deleted: {error}") from error
        self._forget()

    async def undo(self) -> None:
        """Remove what a failed or cancelled start has made."""
        try:
            await self.close(CLEAN_UP_SECONDS)
        except KubeClusterError as error:
            logger.warning("The cluster %s could not be deleted: %s", self.name, error)

    async def _delete(self, resource: Json) -> None:
        """Delete the DaskCluster, exactly the one that we know, and wait until it is gone."""
        namespace = str(self.namespace)
        known = self.now.cluster or resource
        try:
            await raw.delete(self.api, CLUSTERS.path(namespace, self.name), uid=known["metadata"]["uid"])
        except (NotFoundError, ConflictError, AlreadyExistsError):
            self._forget()
            return  # gone already; another one may have its name by now
        # Whoever is cancelled before, as by the end of the event loop, leaves it to the reaper.
        self._forget()
        await until_deleted(self.api, namespace, known, None)

    async def _keep(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await self._disconnect()

    async def _let_go(self) -> None:
        if self.keeper is not None:
            self.keeper.cancel()
            await asyncio.gather(self.keeper, return_exceptions=True)
        await self._disconnect()

    async def _disconnect(self) -> None:
        link, self.link = self.link, None
        observer, self._observer = self._observer, None
        api, self._api = self._api, None
        if link is not None:
            await link.close()
        if observer is not None:
            await observer.close()
        if api is not None:
            await api.close()


@asynccontextmanager
async def _shown(view: View, observer: Observer) -> AsyncIterator[None]:
    """Let the view watch meanwhile."""
    task = asyncio.create_task(view.watch(observer), name=f"{observer.name}: view")
    try:
        yield
    finally:
        task.cancel()
        [outcome] = await asyncio.gather(task, return_exceptions=True)
        if isinstance(outcome, Exception):
            logger.warning("The cluster's start could not be shown: %r", outcome)
