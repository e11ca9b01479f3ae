"""A whole local Kubernetes: its API server, its nodes, and what is installed in it."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, TypeVar

import yaml

from .addons import Addon, AddonProcesses, installed_addons
from .api import ApiServer, Faults
from .interfaces import ApiError, Object
from .kubeconfig import kubeconfig, refuse_foreign, write_private
from .node import Node, NodeAgent, NodeLifecycle, NodeSettings, ScaleNode, Scheduler

T = TypeVar("T")

IMAGES_THAT_CANNOT_EXIST = ("*.invalid/*",)
"""Names below ``invalid`` are never in the DNS: https://datatracker.ietf.org/doc/html/rfc2606#section-2"""


class UnsupportedPlatform(RuntimeError):
    """The local Kubernetes needs Linux, whose processes and loopback addresses it uses."""


class LocalKubernetes:
    """A Kubernetes in this process, whose pods are processes of this machine.

    Use it as a context manager or as an asynchronous one; it runs in a thread and an event loop of its own,
    so that synchronous code may stand inside. While it is open, ``KUBECONFIG`` in this process's environment
    names its kubeconfig. Everything ends with it: pods, add-ons, files.

    Parameters
    ----------
    nodes : sequence of Node, optional
        The machines that pods are bound to; one with this machine's capacity by default.
    addons : iterable of Addon, optional
        What is installed and run beside it. By default the add-ons of all installed packages, which for
        dask-k8s are its CRDs and its controller; ``()`` leaves it bare.
    crds : iterable of path, optional
        Files or folders of manifests that are applied before anything else, as `apply` does.
    kubeconfig : path, optional
        Where the kubeconfig is written, for its owner alone to read; in a temporary folder by default.
    port : int, default 0
        The port of the API server on 127.0.0.1; 0 takes a free one.
    settings : NodeSettings, optional
        Times and failures of the nodes.
    ready_after : float or pair of float, optional
        Seconds, or from how many to how many, after which pods are marked ready without any process: for
        tests of scale. By default pods are processes.

    Attributes
    ----------
    url : str
        The API server's address.
    kubeconfig : Path
        The file for ``KUBECONFIG``.
    faults : Faults
        What shall go wrong: for tests.

    Examples
    --------
    >>> with LocalKubernetes() as kubernetes:  # doctest: +SKIP
    ...     kubernetes.apply("cluster.yaml")
    """

    def __init__(
        self,
        *,
        nodes: Sequence[Node] = (Node(),),
        addons: Iterable[Addon] | None = None,
        crds: Iterable[Path | str] = (),
        kubeconfig: Path | str | None = None,
        port: int = 0,
        settings: NodeSettings | None = None,
        ready_after: float | tuple[float, float] | None = None,
    ) -> None:
        self._nodes = nodes
        self._addons = None if addons is None else tuple(addons)
        self._crds = tuple(crds)
        self._named_kubeconfig = None if kubeconfig is None else Path(kubeconfig).absolute()
        self._port = port
        self._settings = settings or NodeSettings()
        self._ready_after = ready_after
        self._thread: threading.Thread | None = None
        self._opened: list[Any] = []
        self.agents: dict[str, NodeAgent | ScaleNode] = {}

    # Start and stop

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.stop)

    def start(self) -> None:
        """Return as soon as the API server answers and the nodes are ready for pods.

        Raises
        ------
        UnsupportedPlatform
            If this isn't Linux.
        ImportError
            If an add-on lacks something that it needs.
        """
        if sys.platform != "linux":
            raise UnsupportedPlatform(
                f"the local Kubernetes runs on Linux only, not on {sys.platform}: run it in a Linux "
                "container or virtual machine, or use kind, minikube or Docker Desktop, whose Kubernetes "
                "dask-k8s works with from any system"
            )
        if self._named_kubeconfig is not None:
            refuse_foreign(self._named_kubeconfig)
        self._folder = Path(tempfile.mkdtemp(prefix="dask-k8s-local-"))
        self.kubeconfig = self._named_kubeconfig or self._folder / "kubeconfig"
        self._start_loop()
        self._kubeconfig_before = os.environ.get("KUBECONFIG")
        try:
            self._run(self._open())
        except BaseException:
            self.stop()
            raise
        os.environ["KUBECONFIG"] = str(self.kubeconfig)

    def stop(self) -> None:
        """End everything that `start` began, and all that came of it. May be called again."""
        if self._thread is None:
            return
        try:
            self._run(self._close())
        finally:
            self._loop.call_soon_threadsafe(self._loop_may_end.set)
            self._thread.join()
            self._thread = None
            self._remove_files()

    def _start_loop(self) -> None:
        loop_runs = threading.Event()

        async def until_stopped() -> None:
            self._loop = asyncio.get_running_loop()
            self._loop_may_end = asyncio.Event()
            loop_runs.set()
            await self._loop_may_end.wait()

        self._thread = threading.Thread(
            target=asyncio.run, args=(until_stopped(),), name="local-kubernetes", daemon=True
        )
        self._thread.start()
        loop_runs.wait()

    def _remove_files(self) -> None:
        if os.environ.get("KUBECONFIG") == str(self.kubeconfig):
            if self._kubeconfig_before is None:
                del os.environ["KUBECONFIG"]
            else:
                os.environ["KUBECONFIG"] = self._kubeconfig_before
        self.kubeconfig.unlink(missing_ok=True)
        shutil.rmtree(self._folder)

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _open(self) -> None:
        self._server = ApiServer(port=self._port)
        await self._opening(self._server)
        authority = self._folder / "ca.crt"
        authority.write_bytes(self._server.ca_pem)
        content = kubeconfig(self._server.url, authority, self._server.token)
        write_private(self.kubeconfig, yaml.safe_dump(content, sort_keys=False))
        await self._opening(Scheduler(self._server.client))
        await self._opening(NodeLifecycle(self._server.client, scale=self._settings.heartbeat_scale))
        for node in self._nodes:
            await self._open_node(node)
        addons = installed_addons() if self._addons is None else self._addons
        for path in self._crds:
            await self._apply(manifests_of(Path(path)))
        for addon in addons:
            await self._apply(addon.manifests)
        processes = AddonProcesses(self._folder, {"KUBECONFIG": str(self.kubeconfig)})
        self._opened.append(processes)
        await processes.start(addons)

    async def _open_node(self, node: Node) -> None:
        agent = self._agent(node)
        self.agents[node.name] = self._server.kubelets[node.name] = agent
        await self._opening(agent)

    def _agent(self, node: Node) -> NodeAgent | ScaleNode:
        server = self._server
        if self._ready_after is not None:
            return ScaleNode(
                server.client, node, latency=self._ready_after, heartbeat_scale=self._settings.heartbeat_scale
            )
        settings = replace(
            self._settings,
            failing_images=(*self._settings.failing_images, *IMAGES_THAT_CANNOT_EXIST),
            server=server.url,
            token=server.service_account_token,
            ca_pem=server.ca_pem,
        )
        return NodeAgent(server.client, node, directory=self._folder, settings=settings)

    async def _opening(self, part: Any) -> None:
        self._opened.append(part)
        await part.start()

    async def _close(self) -> None:
        while self._opened:
            await self._opened.pop().stop()

    # Use

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def faults(self) -> Faults:
        return self._server.faults

    def apply(self, manifests: Path | str | Iterable[Object]) -> None:
        """Create what manifests describe, or change what is there to it.

        Parameters
        ----------
        manifests : path or iterable of dict
            A file of YAML documents, a folder of such files, or objects.
        """
        objects = manifests_of(Path(manifests)) if isinstance(manifests, Path | str) else list(manifests)
        self._run(self._apply(objects))

    async def _apply(self, manifests: Iterable[Object]) -> None:
        client = self._server.client
        for manifest in manifests:
            api_version, kind, metadata = manifest["apiVersion"], manifest["kind"], manifest["metadata"]
            served = self._server.registry.of_kind(api_version, kind)
            if served is None:
                raise ValueError(
                    f"{kind} {metadata['name']}: nothing serves {api_version} {kind}; apply its CRD first"
                )
            namespace = metadata.get("namespace", "default") if served.resource.namespaced else None
            try:
                await client.create(served.resource.full_name, namespace, manifest)
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    raise
                await client.patch(served.resource.full_name, namespace, metadata["name"], manifest)

    def pause_node(self, name: str = "local") -> None:
        """Let a node stop answering, as if its machine were lost, until `resume_node`."""
        self._loop.call_soon_threadsafe(self.agents[name].pause)

    def resume_node(self, name: str = "local") -> None:
        """Let a paused node answer again."""
        self._loop.call_soon_threadsafe(self.agents[name].resume)


def manifests_of(path: Path) -> list[Object]:
    """Return the YAML documents of a file, or of a folder's files in the order of their names."""
    files = (
        sorted(
            file
            for file in path.iterdir()
            if file.suffix in (".yaml", ".yml") and file.stem != "kustomization"
        )
        if path.is_dir()
        else [path]
    )
    return [document for file in files for document in yaml.safe_load_all(file.read_text()) if document]
