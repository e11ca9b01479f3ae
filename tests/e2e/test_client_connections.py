"""The ways to a scheduler: its Service inside Kubernetes, a load balancer, a node's port."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

import dask_k8s_client
import dask_k8s_credentials
import dask_k8s_models
from dask_k8s_client import KubeCluster, connect, make_cluster_spec
from dask_k8s_client.api import Api
from dask_k8s_client.errors import ResourceTimeoutError
from dask_k8s_client.forward import PortForward, Tunnel
from dask_k8s_client.resources import PODS
from tests.conformance.pods import Pods, python
from tests.conftest import is_local
from tests.e2e.conftest import DASK_CLUSTERS, Patience, is_running
from tests.harness.accounts import DOCUMENTED_ROLE, grant
from tests.harness.kube import Kube, Object

pytestmark = pytest.mark.usefixtures("controller")

# --- in a pod ---

IN_A_POD = """
    import importlib.util, json, sys, zipfile
    if importlib.util.find_spec("dask_k8s_client") is None:
        zipfile.ZipFile("/client/client.zip").extractall("/tmp/client")
        sys.path.insert(0, "/tmp/client")
    missing = [name for name in ("kr8s", "pydantic") if importlib.util.find_spec(name) is None]
    if missing:
        print(json.dumps({"missing": missing}))
        sys.exit()

    from distributed import Client
    from dask_k8s_client import KubeCluster

    with KubeCluster(name="inner", n_workers=1, quiet=True) as cluster, Client(cluster) as client:
        told = {
            "result": client.submit(sum, [10, 1]).result(timeout=120),
            "address": cluster.scheduler_address,
            "dashboard": cluster.dashboard_link,
            "namespace": cluster.namespace,
            "logs": cluster.get_logs(),
        }
    print(json.dumps(told))
"""


def client_for_pods() -> Object:
    """Our packages as a ConfigMap, for images that lack them."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for package in (dask_k8s_client, dask_k8s_credentials, dask_k8s_models):
            folder = Path(package.__path__[0])
            for path in sorted(folder.rglob("*")):
                if path.is_file() and path.suffix != ".pyc":
                    file.write(path, path.relative_to(folder.parent))
    content = base64.b64encode(archive.getvalue()).decode()
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "client"},
        "binaryData": {"client.zip": content},
    }


def test_in_a_pod_it_connects_by_the_service_with_the_documented_role_alone(
    request: pytest.FixtureRequest, kube: Kube, namespace: str, dask_image: str
) -> None:
    grant(kube, namespace, DOCUMENTED_ROLE)
    spec: dict[str, Any] = {"serviceAccountName": "dask-sa"}
    container: dict[str, Any] = {"env": [{"name": "DASK_KUBERNETES__IMAGE", "value": dask_image}]}
    # Pods of the local Kubernetes have the packages of this interpreter.
    if not is_local(request.config):
        kube.create(client_for_pods(), namespace)
        spec["volumes"] = [{"name": "client", "configMap": {"name": "client"}}]
        container["volumeMounts"] = [{"name": "client", "mountPath": "/client"}]
    pods = Pods(kube, namespace, dask_image)

    told = json.loads(pods.output(pods.run(python(IN_A_POD), container=container, **spec)))

    if told.get("missing"):
        pytest.skip(f"the image has no {', '.join(told['missing'])}, which the client needs")
    assert told["result"] == 11
    # The role has no rule for port-forwards, so there was none.
    assert told["address"] == f"tcp://inner-scheduler.{namespace}.svc:8786"
    assert told["dashboard"] == f"http://inner-scheduler.{namespace}.svc:8787/status"
    assert told["namespace"] == namespace
    log = told["logs"]["inner-scheduler"]
    assert 'cannot get resource "pods/log"' in log
    assert "A rule like this in a Role" in log
    kube.gone(DASK_CLUSTERS, "inner", namespace, timeout=30)


# --- a load balancer ---


def balanced(manifest: Object, comm: int = 8786, dashboard: int = 8787) -> Object:
    """Give a cluster a load balancer that nobody provides but the test, also where there are some."""
    service = manifest["spec"]["scheduler"]["service"]
    service |= {"type": "LoadBalancer", "loadBalancerClass": "dask.example.com/none"}
    for port in service["ports"]:
        port["port"] = {"tcp-comm": comm, "http-dashboard": dashboard}[port["name"]]
    return manifest


@asynccontextmanager
async def load_balancer(namespace: str, pod: str) -> AsyncIterator[tuple[int, int]]:
    """Ports of this machine that lead to a scheduler's two, by way of the API server."""
    async with Api() as api:

        def leading_to(port: int) -> PortForward:
            path = PODS.path(namespace, pod, "portforward")
            return PortForward(lambda: Tunnel.open(api, path, port))

        comm, dashboard = leading_to(8786), leading_to(8787)
        try:
            yield await comm.start(), await dashboard.start()
        finally:
            await comm.close()
            await dashboard.close()


async def test_a_load_balancer_is_waited_for_and_connected_to(
    kube: Kube, namespace: str, dask_image: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with load_balancer(namespace, "balanced-scheduler") as ports:
        spec = balanced(make_cluster_spec(name="balanced", image=dask_image, n_workers=1), *ports)
        cluster = KubeCluster(custom_cluster_spec=spec, namespace=namespace, asynchronous=True)
        starting = asyncio.ensure_future(cluster.__aenter__())
        try:
            await said(capsys, "Waiting for scheduler service: its LoadBalancer has no address yet")
            found = await asyncio.to_thread(
                kube.wait, DASK_CLUSTERS, "balanced", namespace, until=lambda one: one.get("status")
            )
            assert found["status"]["phase"] == "Pending"
            assert not starting.done()

            # A name, as a kube-proxy on this machine would itself lead an address to the pod.
            address = {"status": {"loadBalancer": {"ingress": [{"hostname": "localhost"}]}}}
            await asyncio.to_thread(
                kube.patch, "services", "balanced-scheduler", address, namespace, subresource="status"
            )

            await asyncio.wait_for(starting, 60)
            assert cluster.scheduler_address == f"tcp://localhost:{ports[0]}"
            assert cluster.dashboard_link == f"http://localhost:{ports[1]}/status"
            await asyncio.to_thread(kube.wait, DASK_CLUSTERS, "balanced", namespace, until=is_running)
            async with Client(cluster, asynchronous=True) as client:
                assert await client.submit(sum, [10, 1]) == 11
        finally:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            await cluster.close()


async def said(capsys: pytest.CaptureFixture[str], line: str, timeout: float = 120) -> None:
    """Wait until a line has been printed."""
    lines: list[str] = []
    async with asyncio.timeout(timeout):
        while line not in lines:
            lines += capsys.readouterr().out.splitlines()
            await asyncio.sleep(0.05)


@pytest.mark.usefixtures("controller_at_work")
def test_a_load_balancer_that_never_comes_is_named(
    kube: Kube, namespace: str, idle_cluster_manifest: Callable[..., Object], patience: Patience
) -> None:
    spec = balanced(idle_cluster_manifest("alone", n_workers=0))
    with pytest.raises(ResourceTimeoutError, match=r"LoadBalancer has no address.*load balancers") as caught:
        KubeCluster(custom_cluster_spec=spec, namespace=namespace, resource_timeout=patience(1), quiet=True)
    assert isinstance(caught.value, TimeoutError)
    kube.gone(DASK_CLUSTERS, "alone", namespace, timeout=30)


# --- a node's port ---


@pytest.mark.full
async def test_a_nodes_port_is_connected_to_where_it_answers(
    request: pytest.FixtureRequest, kube: Kube, namespace: str, dask_image: str
) -> None:
    async with KubeCluster(
        name="noded",
        namespace=namespace,
        image=dask_image,
        n_workers=1,
        scheduler_service_type="NodePort",
        asynchronous=True,
        quiet=True,
    ) as cluster:
        async with Client(cluster, asynchronous=True) as client:
            assert await client.submit(sum, [10, 1]) == 11

        service = await asyncio.to_thread(kube.get, "services", "noded-scheduler", namespace)
        ports = connect.service_ports(service, "nodePort")
        host = connect.node_host(await asyncio.to_thread(kube.list, "nodes"))
        assert host is not None
        if not await connect.answers(host, ports.comm):
            assert not is_local(request.config)
            assert cluster.scheduler_address.startswith("tcp://localhost:")
            pytest.skip(
                f"the node {host} can't be reached from here, so ports were forwarded, as they should"
            )
        assert cluster.scheduler_address == f"tcp://{host}:{ports.comm}"
        assert cluster.dashboard_link == f"http://{host}:{ports.dashboard}/status"
