"""The API server: starts, stops, and says how to reach it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from dask_k8s_local.api.access.rbac import CLUSTER_ROLES, cluster_role
from dask_k8s_local.api.access.tls import Certificates
from dask_k8s_local.api.access.users import ADMIN, MASTERS, Users, service_account
from dask_k8s_local.api.admission.chain import Admission
from dask_k8s_local.api.client import Client
from dask_k8s_local.api.controllers.garbage import GarbageCollector
from dask_k8s_local.api.controllers.lifecycle import CrdLifecycle, NamespaceLifecycle
from dask_k8s_local.api.faults import Faults
from dask_k8s_local.api.handler import Handler
from dask_k8s_local.api.http.body import BODY_LIMIT
from dask_k8s_local.api.kinds.registry import Registry
from dask_k8s_local.api.objects.operations import Operations
from dask_k8s_local.api.storage.store import Store
from dask_k8s_local.interfaces import Kubelet, Object
from dask_k8s_local.workloads import ControllerManager

_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


def _request(
    message: Any, payload: Any, protocol: Any, writer: Any, task: asyncio.Task[None]
) -> web.BaseRequest:
    """Make a request whose body may be as large as Kubernetes allows."""
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=BODY_LIMIT)


class ApiServer:
    """An API server in this process and event loop.

    Parameters
    ----------
    host : str, default "127.0.0.1"
        The address to listen on.
    port : int, default 0
        The port; 0 takes a free one.
    controllers : bool, default True
        Whether to do what kube-controller-manager does, but for garbage collection and the end of namespaces,
        which are always done.

    Attributes
    ----------
    client : Api
        The same API without HTTP, for whatever runs in the same event loop.
    kubelets : dict of str to Kubelet
        The nodes by name; asked for logs, exec and the pods' addresses.
    token : str
        The bearer token that requests must carry.
    ca_pem : bytes
        The certificate authority that signed the server's certificate.
    """

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, controllers: bool = True) -> None:
        self._host = host
        self._port = port
        self._certificates = Certificates(host, "localhost", "kubernetes.default.svc")
        self._tasks: list[asyncio.Task[None]] = []
        self._runner: web.ServerRunner | None = None
        self.users = Users()
        self.kubelets: dict[str, Kubelet] = {}
        self.store = Store()
        self.registry = Registry(self.store)
        self.operations = Operations(self.store, Admission(self.store))
        self.client = Client(self.registry, self.operations)
        self._handler = Handler(self.registry, self.operations, self.users, self.kubelets)
        self._garbage = GarbageCollector(self.registry, self.operations)
        self._namespaces = NamespaceLifecycle(self.registry, self.operations)
        self._crds = CrdLifecycle(self.registry, self.operations)
        manager = self.client.named("kube-controller-manager")
        self._controllers = ControllerManager(manager, self.ca_pem) if controllers else None

    @property
    def ca_pem(self) -> bytes:
        return self._certificates.ca_pem

    @property
    def faults(self) -> Faults:
        """What shall go wrong, and the log of requests."""
        return self._handler.faults

    @property
    def token(self) -> str:
        return self.users.admin_token

    @property
    def url(self) -> str:
        return f"https://{self._host}:{self._port}"

    async def start(self) -> None:
        for name in _NAMESPACES:
            await self.client.create("namespaces", None, {"metadata": {"name": name}})
        for name in CLUSTER_ROLES:
            await self.client.create("clusterroles.rbac.authorization.k8s.io", None, cluster_role(name))
        self._tasks = [
            asyncio.create_task(self._garbage.queue.run(), name="garbage collector"),
            asyncio.create_task(self._namespaces.queue.run(), name="namespace lifecycle"),
            asyncio.create_task(self._crds.queue.run(), name="CRD lifecycle"),
        ]
        if self._controllers is not None:
            self._controllers.start()
        self.faults.attach(asyncio.get_running_loop())
        # A client that goes away ends its watch at once; writes never wait, so they can't be cut in half.
        server = web.Server(
            self._handler.handle, request_factory=_request, access_log=None, handler_cancellation=True
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port, ssl_context=self._certificates.context)
        await site.start()
        address: Any = self._runner.addresses[0]
        self._port = address[1]
        await self._announce()

    async def _announce(self) -> None:
        """Create the Service by which pods know the API server."""
        port = {"name": "https", "port": 443, "targetPort": self._port}
        service = {
            "metadata": {
                "name": "kubernetes",
                "labels": {"component": "apiserver", "provider": "kubernetes"},
            },
            "spec": {"ports": [port]},
        }
        await self.client.create("services", "default", service)
        subset = {
            "addresses": [{"ip": self._host}],
            "ports": [{"name": "https", "port": self._port, "protocol": "TCP"}],
        }
        endpoints = {"metadata": {"name": "kubernetes"}, "subsets": [subset]}
        await self.client.create("endpoints", "default", endpoints)
        slice_ = {
            "metadata": {"name": "kubernetes", "labels": {"kubernetes.io/service-name": "kubernetes"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [self._host], "conditions": {"ready": True}}],
            "ports": subset["ports"],
        }
        await self.client.create("endpointslices.discovery.k8s.io", "default", slice_)

    async def stop(self) -> None:
        if self._runner is not None:
            self.faults.cut_watches()
            await self._runner.cleanup()
            self._runner = None
        if self._controllers is not None:
            await self._controllers.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def service_account_token(self, namespace: str, name: str) -> str:
        """Return the token of a service account; RBAC says what it may do."""
        return self.users.token(service_account(namespace, name))

    def kubeconfig(
        self, namespace: str = "default", user: str = ADMIN, groups: Iterable[str] = (MASTERS,)
    ) -> Object:
        """Return a kubeconfig that leads here; whoever holds it can run processes as this machine's user.

        Parameters
        ----------
        namespace : str, default "default"
            The namespace of its context.
        user : str, optional
            Who the client shall be; each user has a token of his own, so that faults can tell clients apart.
        groups : iterable of str, optional
            The user's groups. By default those of administrators, who may do everything; with ``()``, RBAC
            decides.
        """
        authority = base64.b64encode(self.ca_pem).decode()
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "local", "cluster": {"server": self.url, "certificate-authority-data": authority}}
            ],
            "users": [{"name": user, "user": {"token": self.users.token(user, groups)}}],
            "contexts": [
                {"name": "local", "context": {"cluster": "local", "user": user, "namespace": namespace}}
            ],
            "current-context": "local",
        }
