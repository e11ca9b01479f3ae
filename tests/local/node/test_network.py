"""Pods share a machine and don't notice: each has its own address, ports, host name and names of Services."""

from __future__ import annotations

import asyncio
import json
import socket
import urllib.request
from typing import Any

import pytest

from tests.local.node.kit import Cluster, a_pod, a_service, container, is_over, is_ready, phase

SERVER = ("python", "-m", "http.server", "8000")


def python(script: str, **fields: Any) -> dict[str, Any]:
    return container("python", "-c", script, **fields)


@pytest.fixture(params=[True, False], ids=["namespaces", "no-namespaces"])
async def node(request: pytest.FixtureRequest, cluster: Cluster) -> Cluster:
    await cluster.add_node(namespaces=request.param)
    return cluster


async def ask(cluster: Cluster, script: str, name: str = "ask", **spec: Any) -> Any:
    """Run a script in a pod; return the JSON that it prints."""
    await cluster.create(a_pod(name, python("import json, socket\n" + script), restartPolicy="Never", **spec))
    pod = await cluster.until(name, is_over)
    log = await cluster.log(name)
    assert phase(pod) == "Succeeded", log
    return json.loads(log.splitlines()[-1])


async def test_a_pod_knows_its_name_and_address(node: Cluster) -> None:
    seen = await ask(
        node,
        "name = socket.gethostname()\n"
        "print(json.dumps([name, socket.getfqdn(), socket.gethostbyname(name)]))",
    )
    address = (await node.pod("ask"))["status"]["podIP"]
    assert seen == ["ask", "ask", address]


async def test_two_pods_listen_on_the_same_port(node: Cluster) -> None:
    probe = {"readinessProbe": {"tcpSocket": {"port": 8000}, "periodSeconds": 1}}
    for name in ("one", "two"):
        await node.create(a_pod(name, container(*SERVER, **probe)))
    pods = [await node.until(name, is_ready) for name in ("one", "two")]
    agent = node.server.kubelets["local"]
    for pod in pods:
        script = "import urllib.request; print(urllib.request.urlopen('http://localhost:8000').status)"
        assert await agent.exec(pod, "main", ["python", "-c", script], b"") == (0, b"200\n", b"")
        host, port = agent.address(pod, 8000)
        assert await asyncio.to_thread(status_of_url, f"http://{host}:{port}") == 200


def status_of_url(url: str) -> int:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return int(answer.status)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "127.0.0.1", "localhost", "::", "::1"])
async def test_wildcard_and_loopback_addresses_are_the_pod_s(cluster: Cluster, host: str) -> None:
    await cluster.add_node()
    family = "AF_INET6" if ":" in host else "AF_INET"
    seen = await ask(
        cluster,
        f"""
server = socket.socket(socket.{family})
server.bind(({host!r}, 0)); server.listen()
port = server.getsockname()[1]
client = socket.create_connection(("localhost", port))
peer = server.accept()[1][0]
print(json.dumps([server.getsockname()[0], peer]))
""",
    )
    address = (await cluster.pod("ask"))["status"]["podIP"]
    assert [name.removeprefix("::ffff:") for name in seen] == [address, address]


async def test_loopback_of_one_pod_is_not_another_s(cluster: Cluster) -> None:
    await cluster.add_node()
    await cluster.create(
        a_pod("server", container("python", "-m", "http.server", "8000", "--bind", "127.0.0.1"))
    )
    pod = await cluster.until("server", is_ready)
    seen = await ask(
        cluster,
        "s = socket.socket(); s.settimeout(5)\nprint(json.dumps(s.connect_ex(('127.0.0.1', 8000)) != 0))",
    )
    assert seen is True
    assert pod["status"]["podIP"] != (await cluster.pod("ask"))["status"]["podIP"]


async def test_services_resolve_by_all_their_names(node: Cluster) -> None:
    ports = [{"name": "web", "port": 80, "targetPort": 8000}]
    service = await node.create(a_service("server", {"app": "server"}, *ports))
    probe = {"readinessProbe": {"tcpSocket": {"port": 8000}, "periodSeconds": 1}}
    await node.create(a_pod("server", container(*SERVER, **probe)))
    server = await node.until("server", is_ready)
    seen = await ask(
        node,
        """
import asyncio, urllib.request
names = ["server", "server.default", "server.default.svc", "server.default.svc.cluster.local",
         "SERVER.default.svc."]
async def status():
    reader, writer = await asyncio.open_connection("server", 80)
    writer.write(b"GET / HTTP/1.0\\r\\n\\r\\n")
    line = await reader.readline()
    source, peer = writer.get_extra_info("sockname")[0], writer.get_extra_info("peername")
    writer.close()
    return line.decode().split()[1], source, peer
print(json.dumps([
    [socket.gethostbyname(name) for name in names],
    [urllib.request.urlopen(f"http://{name}/").status for name in names],
    asyncio.run(status()),
]))
""",
    )
    addresses, statuses, (status, source, peer) = seen
    assert set(addresses) == {service["spec"]["clusterIP"]}
    assert statuses == [200] * 5
    assert status == "200"
    assert source == (await node.pod("ask"))["status"]["podIP"]
    assert peer == [server["status"]["podIP"], 8000]


async def test_a_service_without_ready_pods_refuses(cluster: Cluster) -> None:
    await cluster.add_node()
    await cluster.create(a_service("empty", {"app": "none"}, {"port": 80}))
    seen = await ask(
        cluster,
        """
import time, errno
def attempt():
    try: socket.create_connection(("empty", 80))
    except ConnectionRefusedError: return "refused"
started = time.monotonic()
def unknown():
    try: socket.create_connection(("nobody.default.svc", 80))
    except socket.gaierror as error: return error.errno == socket.EAI_NONAME
s = socket.socket()
is_refused = s.connect_ex(("empty", 80)) == errno.ECONNREFUSED
print(json.dumps([attempt(), unknown(), is_refused, time.monotonic() - started]))
""",
    )
    assert seen[:3] == ["refused", True, True]
    assert seen[3] < 1


async def test_a_headless_service_resolves_to_its_pods(cluster: Cluster) -> None:
    await cluster.add_node()
    await cluster.create(a_service("group", {"app": "member"}, {"port": 8000}, clusterIP="None"))
    await cluster.create(a_pod("member", container("sleep", "100")))
    pod = await cluster.until("member", is_ready)
    await cluster.until("group", lambda body: bool(body.get("subsets")), resource="endpoints")
    script = """
import time
def resolve(name):
    for _ in range(100):
        try: return socket.gethostbyname(name)
        except OSError: time.sleep(0.05)
print(json.dumps([resolve(name) for name in ("group", "group.default.svc.cluster.local")]))
"""
    assert await ask(cluster, script) == [pod["status"]["podIP"]] * 2


async def test_a_datagram_socket_tells_the_pod_s_address(cluster: Cluster) -> None:
    await cluster.add_node()
    script = """
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("8.8.8.8", 80))
print(json.dumps(s.getsockname()[0]))
"""
    assert await ask(cluster, script) == (await cluster.pod("ask"))["status"]["podIP"]


async def test_a_pod_reaches_the_api_server(node: Cluster) -> None:
    seen = await ask(
        node,
        """
import os, ssl, urllib.request
folder = "/var/run/secrets/kubernetes.io/serviceaccount/"
context = ssl.create_default_context(cafile=folder + "ca.crt")
def get(server):
    headers = {"Authorization": "Bearer " + open(folder + "token").read()}
    request = urllib.request.Request(server + "/api/v1/namespaces/default/pods", headers=headers)
    items = json.load(urllib.request.urlopen(request, context=context))["items"]
    return [pod["metadata"]["name"] for pod in items]
host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
print(json.dumps([get(f"https://{host}:{port}"), get("https://kubernetes.default.svc")]))
""",
    )
    assert seen == [["ask"], ["ask"]]


async def test_pods_on_the_host_s_network_have_its_address(cluster: Cluster) -> None:
    await cluster.add_node()
    await cluster.create(a_pod("one", container("sleep", "100"), hostNetwork=True))
    pod = await cluster.until("one", is_ready)
    assert pod["status"]["podIP"] == pod["status"]["hostIP"]


async def test_a_user_s_own_sitecustomize_still_runs(cluster: Cluster) -> None:
    await cluster.add_node()
    code = "import builtins; builtins.CUSTOMIZED = 'yes'"
    await cluster.create(
        {"kind": "ConfigMap", "metadata": {"name": "site"}, "data": {"sitecustomize.py": code}}
    )
    log = await cluster.run(
        "python",
        "-c",
        "import sys, socket\n"
        "print(CUSTOMIZED, socket.gethostname(), any('node/site' in p for p in sys.path))",
        env=[{"name": "PYTHONPATH", "value": "/own/site"}],
        volumes=[{"name": "site", "configMap": {"name": "site"}}],
        volumeMounts=[{"name": "site", "mountPath": "/own/site"}],
    )
    assert log == "yes run False\n"


async def test_what_fails_is_told_and_the_process_goes_on(cluster: Cluster) -> None:
    await cluster.add_node()
    log = await cluster.run("sh", "-c", "_POD_NETWORK=broken python -c 'print(1)'")
    assert "_pod_network is not installed" in log
    assert log.endswith("1\n")


async def test_a_node_port_is_open_to_the_machine(cluster: Cluster) -> None:
    await cluster.add_node()
    ports = {"port": 80, "targetPort": 8000}
    service = await cluster.create(a_service("server", {"app": "server"}, ports, type="NodePort"))
    probe = {"readinessProbe": {"tcpSocket": {"port": 8000}, "periodSeconds": 1}}
    await cluster.create(a_pod("server", container(*SERVER, **probe)))
    await cluster.until("server", is_ready)
    await cluster.until("server", lambda body: bool(body.get("subsets")), resource="endpoints")
    (address,) = {
        entry["address"]
        for node in await cluster.api.list("nodes")
        for entry in node["status"]["addresses"]
        if entry["type"] == "InternalIP"
    }
    port = service["spec"]["ports"][0]["nodePort"]

    assert await asyncio.to_thread(status_of_url, f"http://{address}:{port}/") == 200


async def test_several_local_kubernetes_share_a_machine(cluster: Cluster, tmp_path_factory: Any) -> None:
    await cluster.add_node()
    async with Cluster(tmp_path_factory.mktemp("other")) as other:
        await other.add_node()
        for each in (cluster, other):
            await each.create(a_pod("one", container(*SERVER)))
        addresses = {(await each.until("one", is_ready))["status"]["podIP"] for each in (cluster, other)}
        assert len(addresses) == 2
        assert all(socket.inet_aton(address)[0] == 127 for address in addresses)
