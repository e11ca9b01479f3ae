"""A local Kubernetes in the test's own event loop, and words to describe what should happen in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

from dask_k8s_local.api import ApiServer
from dask_k8s_local.interfaces import ApiError, LogOptions, Object
from dask_k8s_local.node import Node, NodeAgent, NodeLifecycle, NodeSettings, ScaleNode, Scheduler

LIMIT = 20.0


def container(*argv: str, name: str = "main", **fields: Any) -> Object:
    return {"name": name, "image": "example/image", "command": list(argv), **fields}


def a_pod(name: str, *containers: Object, labels: dict[str, str] | None = None, **spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": labels or {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 5, "containers": list(containers), **spec},
    }


def a_service(name: str, selector: dict[str, str], *ports: Object, **spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": selector, "ports": list(ports), **spec},
    }


def phase(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase"))


def condition(body: Object, type_: str) -> Object:
    conditions = (body.get("status") or {}).get("conditions") or []
    return next((c for c in conditions if c["type"] == type_), {})


def is_ready(pod: Object) -> bool:
    return condition(pod, "Ready").get("status") == "True"


def is_over(pod: Object) -> bool:
    return phase(pod) in ("Succeeded", "Failed")


def state(pod: Object, name: str = "main") -> Object:
    """Return a container's state with its word: ``{"waiting": {...}}``."""
    return dict(status_of(pod, name).get("state") or {})


def status_of(pod: Object, name: str = "main") -> Object:
    status = pod.get("status") or {}
    everyone = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    return next((c for c in everyone if c["name"] == name), {})


class Cluster:
    """An API server, a scheduler, and the nodes that a test adds."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.server = ApiServer()
        self.api = self.server.client
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self.server.start()
        self._stack.push_async_callback(self.server.stop)
        await self.add(Scheduler(self.api))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def add(self, part: Any) -> Any:
        self._stack.push_async_callback(part.stop)
        await part.start()
        return part

    async def add_node(self, node: Node | None = None, **settings: Any) -> NodeAgent:
        """Add a node that runs processes; kubelet's own times are a hundredth, probes ten times as fast."""
        defaults = {
            "back_off_scale": 0.01,
            "probe_scale": 0.1,
            "server": self.server.url,
            "token": self.server.token,
            "ca_pem": self.server.ca_pem,
        }
        agent = NodeAgent(
            self.api,
            node,
            directory=self.directory,
            settings=NodeSettings(**{**defaults, **settings}),
        )
        self.server.kubelets[agent.node.name] = agent
        await self.add(agent)
        return agent

    async def add_scale_node(self, node: Node | None = None, **options: Any) -> ScaleNode:
        added: ScaleNode = await self.add(ScaleNode(self.api, node, **options))
        return added

    async def add_lifecycle(self, scale: float) -> NodeLifecycle:
        added: NodeLifecycle = await self.add(NodeLifecycle(self.api, scale=scale))
        return added

    async def create(self, body: Object) -> Object:
        resource = {"Pod": "pods", "Service": "services", "ConfigMap": "configmaps", "Secret": "secrets"}
        namespace = body["metadata"].get("namespace", "default")
        return await self.api.create(resource[body["kind"]], namespace, body)

    async def pod(self, name: str) -> Object:
        return await self.api.get("pods", "default", name)

    async def until(
        self, name: str, holds: Callable[[Object], bool], *, resource: str = "pods", limit: float = LIMIT
    ) -> Object:
        """Wait until something holds of an object; the failure shows how it was last."""
        last: Object = {}

        async def watch() -> Object:
            nonlocal last
            async for event, body in self.api.watch(resource, field_selector=f"metadata.name={name}"):
                if event != "DELETED":
                    last = body
                    if holds(body):
                        return body
            raise AssertionError("the watch ended")

        try:
            return await asyncio.wait_for(watch(), limit)
        except TimeoutError:
            raise AssertionError(f"{resource} {name} was last: {last.get('status')}") from None

    async def until_gone(self, name: str, *, limit: float = LIMIT) -> None:
        async def watch() -> None:
            async for event, _ in self.api.watch("pods", field_selector=f"metadata.name={name}"):
                if event == "DELETED":
                    return

        try:
            await self.pod(name)
        except ApiError as error:
            if error.code != 404:
                raise
            return
        await asyncio.wait_for(watch(), limit)

    async def delete(self, name: str, **options: Any) -> None:
        await self.api.delete("pods", "default", name, **options)

    async def run(self, *argv: str, **fields: Any) -> str:
        """Run a pod to its end, and return its log."""
        spec = {key: fields.pop(key) for key in ("volumes", "initContainers") if key in fields}
        await self.create(a_pod("run", container(*argv, **fields), restartPolicy="Never", **spec))
        await self.until("run", is_over)
        log = await self.log("run")
        await self.delete("run")
        return log

    async def log(self, name: str, container_name: str = "main", **options: Any) -> str:
        pod = await self.pod(name)
        kubelet = self.server.kubelets[pod["spec"]["nodeName"]]
        chunks = [chunk async for chunk in kubelet.logs(pod, LogOptions(container_name, **options))]
        return b"".join(chunks).decode()

    async def events(self, name: str) -> list[tuple[str, str]]:
        """Return reason and message of an object's Events, oldest first."""
        events = await self.api.list("events", "default", field_selector=f"involvedObject.name={name}")
        events.sort(key=lambda event: int(event["metadata"]["resourceVersion"]))
        return [(event["reason"], event["message"]) for event in events]

    async def until_event(self, name: str, reason: str, *, limit: float = LIMIT) -> Object:
        async def watch() -> Object:
            selector = f"involvedObject.name={name},reason={reason}"
            async for _, event in self.api.watch("events", field_selector=selector):
                return event
            raise AssertionError("the watch ended")

        return await asyncio.wait_for(watch(), limit)
