"""``kubectl port-forward``, over WebSockets as it is today, and over SPDY as it was.

https://kubernetes.io/docs/tasks/access-application-cluster/port-forward-access-application-cluster/
"""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from distributed import Client

from tests.conformance.kubectl import Kubectl
from tests.conformance.manifests import service
from tests.conformance.pods import Pods, python
from tests.harness.kube import Kube

ECHO = """
    import socketserver
    class Echo(socketserver.StreamRequestHandler):
        def handle(self):
            left = int.from_bytes(self.rfile.read(8), "big")
            while left and (chunk := self.rfile.read1(min(left, 65536))):
                self.request.sendall(chunk)
                left -= len(chunk)
            self.request.sendall(b"the end")
    class Server(socketserver.ThreadingTCPServer):
        daemon_threads, request_queue_size = True, 100
    Server(("0.0.0.0", 7000), Echo).serve_forever()
"""
DASK = """
    import asyncio
    from distributed import Scheduler, Worker
    async def main():
        async with Scheduler(host="0.0.0.0", port=8786, dashboard=False) as scheduler:
            async with Worker(scheduler.address, dashboard=False, nthreads=1) as worker:
                await worker.finished()
    asyncio.run(main())
"""
Protocol = dict[str, str]
PORT = {"tcpSocket": {"port": 7000}, "periodSeconds": 1}


@pytest.fixture(scope="module")
def echo(kube: Kube, pods: Pods) -> str:
    """A pod and a Service of its name that send back as many bytes as they are told to, and a word more."""
    name = pods.run(
        python(ECHO),
        container={"readinessProbe": PORT},
    )
    pods.ready(name)
    kube.create(service(name, {"app": name}, {"port": 80, "targetPort": 7000}), pods.namespace)
    return name


@pytest.fixture(params=["true", "false"], ids=["WebSocket", "SPDY"])
def protocol(request: pytest.FixtureRequest) -> Protocol:
    """What tells kubectl whether to try WebSockets."""
    return {"KUBECTL_PORT_FORWARD_WEBSOCKETS": request.param}


def told(data: bytes, more: int = 0) -> bytes:
    """Return data behind its length, which may count more that comes later."""
    return (len(data) + more).to_bytes(8, "big") + data


def echoed(port: int, data: bytes) -> bytes:
    """Send data, and return all that comes back until the pod hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        sending = threading.Thread(target=connection.sendall, args=(told(data),))
        sending.start()
        received = b"".join(iter(lambda: connection.recv(65536), b""))
        sending.join()
    return received


@pytest.mark.parametrize(("what", "port"), [("pod", 7000), ("service", 80)])
def test_bytes_go_both_ways_to_the_end(
    kubectl: Kubectl, echo: str, protocol: Protocol, what: str, port: int
) -> None:
    with kubectl.forwarded(f"{what}/{echo}", port, **protocol) as local:
        assert echoed(local, b"hello, ") == b"hello, the end"
        much = bytes(range(256)) * 8192
        assert echoed(local, much) == much + b"the end"


def test_connections_do_not_wait_for_each_other(kubectl: Kubectl, echo: str, protocol: Protocol) -> None:
    texts = [f"{number}: ".encode() * 1000 for number in range(20)]
    with (
        kubectl.forwarded(f"pod/{echo}", 7000, **protocol) as local,
        socket.create_connection(("127.0.0.1", local), timeout=60) as silent,
    ):
        with ThreadPoolExecutor(len(texts)) as pool:
            answers = list(pool.map(lambda text: echoed(local, text), texts))
        assert answers == [text + b"the end" for text in texts]
        silent.sendall(told(b"still here", more=1))
        assert silent.recv(100) == b"still here"


def test_who_hangs_up_early_harms_nobody(kubectl: Kubectl, echo: str, protocol: Protocol) -> None:
    with kubectl.forwarded(f"pod/{echo}", 7000, **protocol) as local:
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", local), timeout=60) as connection:
                connection.sendall(told(b"x" * 100_000, more=1))
        assert echoed(local, b"hello, ") == b"hello, the end"


def test_a_port_where_nobody_listens_is_told(kubectl: Kubectl, echo: str, protocol: Protocol) -> None:
    with kubectl.lines("port-forward", "--address=127.0.0.1", f"pod/{echo}", ":7001", **protocol) as lines:
        local = int(next(lines).removeprefix("Forwarding from 127.0.0.1:").split()[0])
        with socket.create_connection(("127.0.0.1", local), timeout=60) as connection:
            connection.sendall(b"anybody?")
            assert any("error forwarding port 7001 to pod" in line for line in lines)


def test_a_dask_client_works_through_it(kubectl: Kubectl, kube: Kube, pods: Pods, protocol: Protocol) -> None:
    name = pods.run(
        python(DASK),
        container={"readinessProbe": {"tcpSocket": {"port": 8786}, "periodSeconds": 1}},
    )
    pods.ready(name)
    kube.create(service(name, {"app": name}, {"port": 8786}), pods.namespace)

    with (
        kubectl.forwarded(f"svc/{name}", 8786, **protocol) as local,
        Client(f"tcp://127.0.0.1:{local}", timeout=60) as client,
    ):
        client.wait_for_workers(1, timeout=60)
        assert client.submit(len, b"x" * 3_000_000).result(timeout=60) == 3_000_000
        assert len(client.submit(bytes, 3_000_000).result(timeout=60)) == 3_000_000
