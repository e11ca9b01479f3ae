# mypy: disallow-untyped-calls=False
"""`KubeCluster`: a Dask cluster on Kubernetes, as a Dask cluster manager."""

from __future__ import annotations

from typing import Any

from distributed.core import Status
from distributed.utils import Log, Logs
from tornado.ioloop import IOLoop

from dask_k8s_client import groups, notebook, pods
from dask_k8s_client.adaptivity import Adaptivity
from dask_k8s_client.config import ClusterOptions, CreateMode
from dask_k8s_client.errors import JupyterNotEnabledError, ValidationError
from dask_k8s_client.logs import cluster_logs
from dask_k8s_client.manager import Manager
from dask_k8s_client.views import Terminal
from dask_k8s_models import make_worker_spec, names

Json = dict[str, Any]


class KubeCluster(Manager):
    """Launch a Dask cluster on Kubernetes, or connect to one.

    It creates a ``DaskCluster``, which the operator turns into a scheduler and workers, and connects to the
    scheduler: inside Kubernetes through its Service, from outside through forwarded ports.

    Parameters
    ----------
    name : str, optional
        Name of the cluster. ``{user}``, ``{uuid}`` and environment variables in it are filled in. Ignored in
        favour of ``custom_cluster_spec["metadata"]["name"]``, unless that comes from the configuration.
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
    tls : bool or dict, optional
        Whether all speak TLS, with a certificate that is made for the cluster, or the manifest's
        ``spec.tls``, such as ``{"secretName": "mine"}``. By default the operator decides. `Client` needs
        nothing more: ``security`` has the certificate.
    jupyter : bool, optional
        Run a Jupyter server on the scheduler.
    loop : tornado.ioloop.IOLoop, optional
        The running event loop to use, as in other Dask cluster managers.
    asynchronous : bool
        Whether this is used in an event loop, with ``await``.
    quiet : bool
        Whether to show nothing.
    **kwargs
        ``kubeconfig`` and ``context`` say which Kubernetes, ``security`` (a `distributed.Security`) how to
        speak to the scheduler; the others are arguments of `distributed.deploy.Cluster`.

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
        tls: bool | Json | None = None,
        loop: IOLoop | None = None,
        asynchronous: bool = False,
        quiet: bool = False,
        **kwargs: Any,
    ) -> None:
        given = {key: value for key, value in locals().items() if key in ClusterOptions.__dataclass_fields__}
        options = ClusterOptions.from_config(**given)
        kubernetes = (kwargs.pop("kubeconfig", None), kwargs.pop("context", None))
        security = kwargs.pop("security", None)
        super().__init__(
            options, kubernetes, security, loop=loop, asynchronous=asynchronous, quiet=quiet, **kwargs
        )

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
        least = minimum or 0
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
        """Delete a worker group, after its workers have handed their results on.

        Parameters
        ----------
        name : str
            Name of the group.

        Raises
        ------
        TimeoutError
            Its workers don't go, e.g. as nobody could take over what they hold; then the group stays.

        Examples
        --------
        >>> cluster.delete_worker_group("high-mem-workers")  # doctest: +SKIP
        """
        return self._call(lambda: self._session.groups.delete(name, self.resource_timeout))

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

    async def generate_rich_output(self) -> Any:
        """Return the state of the components as a `rich.panel.Panel`."""
        view = Terminal(f"KubeCluster {self.name}")
        return view.note(absence) if (absence := self._absence()) else view.picture(self._session.now)

    def _repr_html_(self, cluster_status: str | None = None) -> str:
        return str(super()._repr_html_(cluster_status=self._components_html() + (cluster_status or "")))

    def _components_html(self) -> str:
        if absence := self._absence():
            return notebook.note(absence)
        now = self._session.now
        return notebook.components(now) + notebook.pods_table(now)

    def _scaling_status(self) -> str:
        absence, now = self._absence(), self._session.now
        return f"<table>{notebook.note(absence) if absence else notebook.components(now)}</table>"

    def _absence(self) -> str:
        """Say why there is nothing to tell about the components, if so."""
        if self.status == Status.created:
            return "Not started yet: await it."
        if self.status in (Status.starting, Status.running):
            return ""
        if self.status == Status.closing:
            return "Closing; it may take another close()."
        if self.shutdown_on_close:
            return "Closed, and the cluster deleted."
        return f"Closed; KubeCluster.from_name({self.name!r}) connects to the cluster again."

    def get_logs(self) -> Any:  # type: ignore[override]
        """Return the logs of the scheduler and the workers by pod name.

        Examples
        --------
        >>> print(cluster.get_logs()["foo-scheduler"])  # doctest: +SKIP
        """
        self._require_running()
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
        return "" if link is None else link.dashboard()

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

    @classmethod
    def of(cls, resource: Any, **options: Any) -> KubeCluster:
        """Connect to the cluster that a `DaskCluster` object is; closing this object leaves it as it is.

        Parameters
        ----------
        resource : DaskCluster
            Of `dask_k8s_client.objects` or `dask_k8s_client.asyncio`.
        **options
            Further arguments of `KubeCluster`.
        """
        kubeconfig, context = getattr(resource.api, "source", (None, None))
        return cls.from_name(
            resource.name,
            **{
                "namespace": resource.namespace,
                "kubeconfig": kubeconfig,
                "context": context,
                "asynchronous": resource._asyncio,
                **options,
            },
        )

    @property
    def resource(self) -> Any:
        """The `DaskCluster` as it is now, as an object that can be scaled, awaited and asked for its parts.

        In asynchronous use it is one of `dask_k8s_client.asyncio`.
        """
        self._require_running()
        from dask_k8s_client import asyncio as asynchronous_kinds
        from dask_k8s_client import objects

        content = self._session.now.cluster or self._session.resource
        if content is None:
            raise ValueError(f"The cluster {self.name} hasn't started yet.")
        if self.asynchronous:
            return asynchronous_kinds.DaskCluster(content, api=self._session.api)
        return objects.DaskCluster(content, api=objects.api(*self._session.api.source))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KubeCluster) and (self.name, self.namespace) == (other.name, other.namespace)

    __hash__ = Manager.__hash__

    def __reduce__(self) -> Any:
        raise TypeError(
            "A KubeCluster can't be pickled. Pass its name and connect there: "
            f"KubeCluster.from_name({self.name!r}, namespace={self.namespace!r})."
        )
