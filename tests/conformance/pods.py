"""Pods for tests: they run Python or a shell from an image that has both."""

from __future__ import annotations

import textwrap
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.conformance.waiting import condition_is
from tests.harness.kube import PATIENCE, Kube, Object

FOREVER = ["sleep", "3600"]


def python(code: str) -> list[str]:
    return ["python3", "-u", "-c", textwrap.dedent(code)]


def shell(script: str) -> list[str]:
    return ["sh", "-c", textwrap.dedent(script)]


ECHO_SERVER = """
import json, os, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        told = {"method": self.command, "path": self.path, "body": sent, "pod": os.environ["HOSTNAME"]}
        headers = {key.lower(): value for key, value in self.headers.items()}
        body = json.dumps({**told, "headers": headers}).encode()
        self.send_response(418 if self.path.startswith("/teapot") else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def log_message(self, *_):
        pass

ThreadingHTTPServer(("", int(sys.argv[1])), Echo).serve_forever()
"""


@dataclass(frozen=True)
class Pods:
    """Creates pods in a namespace, each under a name of its own, and waits for them."""

    kube: Kube
    namespace: str
    image: str

    def container(self, command: list[str], name: str = "main", **fields: Any) -> Object:
        return {
            "name": name,
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            "command": command,
            **fields,
        }

    def manifest(self, *containers: Object, metadata: Object | None = None, **spec: Any) -> Object:
        name = f"x{uuid.uuid4().hex[:8]}"
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": name}, **(metadata or {})},
            "spec": {
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 1,
                "containers": list(containers),
                **spec,
            },
        }

    def create(self, *containers: Object, metadata: Object | None = None, **spec: Any) -> str:
        manifest = self.manifest(*containers, metadata=metadata, **spec)
        return self.kube.create(manifest, self.namespace)["metadata"]["name"]

    def run(
        self,
        command: list[str],
        *,
        metadata: Object | None = None,
        container: Object | None = None,
        **spec: Any,
    ) -> str:
        """Create a pod of one container and return its name."""
        return self.create(self.container(command, **(container or {})), metadata=metadata, **spec)

    def serve(
        self, port: int = 8080, *, ready: bool = True, metadata: Object | None = None, **spec: Any
    ) -> str:
        """Run a web server that tells what it was asked; unless it's ready, return at once."""
        probe = {"httpGet": {"path": "/", "port": port}, "periodSeconds": 1}
        fields = {"readinessProbe": probe, "ports": [{"name": "http", "containerPort": port}]}
        name = self.run([*python(ECHO_SERVER), str(port)], metadata=metadata, container=fields, **spec)
        if ready:
            self.ready(name)
        return name

    def wait(self, name: str, until: Callable[[Object], object], timeout: float = PATIENCE) -> Object:
        return self.kube.wait("pods", name, self.namespace, until=until, timeout=timeout)

    def ready(self, name: str) -> Object:
        return self.wait(name, lambda pod: condition_is(pod, "Ready"))

    def running(self, name: str) -> Object:
        return self.wait(name, lambda pod: pod["status"]["phase"] == "Running")

    def finished(self, name: str) -> Object:
        return self.wait(name, lambda pod: pod["status"]["phase"] in ("Succeeded", "Failed"))

    def log(self, name: str, **params: str) -> str:
        return self.kube.request("GET", self.kube.path("pods", self.namespace, name, "log"), params=params)

    def output(self, name: str) -> str:
        """Wait until the pod has ended well and return what it wrote."""
        pod = self.finished(name)
        log = self.log(name)
        assert pod["status"]["phase"] == "Succeeded", log
        return log

    def event(self, name: str, reason: str, words: str = "") -> Object:
        """Wait for an event about a pod, which may come later than what it tells about, and return it."""
        found: list[Object] = []

        def is_told(events: dict[str, Object]) -> bool:
            found[:] = [e for e in events.values() if e["reason"] == reason and words in e["message"]]
            return bool(found)

        selector = f"involvedObject.kind=Pod,involvedObject.name={name}"
        self.kube.wait_all("events", self.namespace, until=is_told, fieldSelector=selector)
        return found[0]


def state(pod: Object, kind: str = "", container: str = "main") -> Object:
    """Return a container's state of a kind (waiting, running, terminated); empty if it's another."""
    return status_of(pod, container).get("state", {}).get(kind, {})


def status_of(pod: Object, container: str = "main") -> Object:
    status = pod.get("status", {})
    every = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    return next((one for one in every if one["name"] == container), {})
