"""Encrypted clusters: who gets in, who doesn't, and how a live cluster begins, goes on and ends to be one."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from distributed import Client, Security

from dask_k8s_client import KubeCluster
from dask_k8s_client.errors import ForbiddenError
from dask_k8s_models import labels
from tests.conformance.waiting import eventually
from tests.e2e.conftest import DASK_CLUSTERS, pods_of
from tests.harness.accounts import DOCUMENTED_ROLE, grant, kubeconfig_of
from tests.harness.controller import ControllerProcess
from tests.harness.flows import holds
from tests.harness.kube import Kube, Object

Manifest = Callable[..., Object]

pytestmark = pytest.mark.usefixtures("controller")

SOON = 30.0
"""Seconds within which whoever is refused hears of it."""


@pytest.fixture
def encrypted(namespace: str, dask_image: str) -> Iterator[KubeCluster]:
    with KubeCluster(
        name="encrypted", namespace=namespace, image=dask_image, n_workers=1, tls=True, quiet=True
    ) as cluster:
        yield cluster


def is_refused(address: str, security: Security | None) -> bool:
    """Whether a client is sent away, and hears so."""

    async def connect() -> bool:
        try:
            async with Client(address, security=security, asynchronous=True, timeout=3):
                return False
        except (OSError, TimeoutError):
            return True

    return asyncio.run(asyncio.wait_for(connect(), SOON))


def is_refused_without_a_certificate(address: str, authority: str) -> bool:
    """Whether a server ends the connection of somebody who knows it, but shows nothing."""
    context = ssl.create_default_context(cadata=authority)
    context.check_hostname = False
    where = urlsplit(address)
    with socket.create_connection((where.hostname, where.port), SOON) as plain:
        try:
            with context.wrap_socket(plain) as encrypted:
                return encrypted.recv(1) == b""
        except ssl.SSLError as error:
            return "CERTIFICATE_REQUIRED" in str(error).upper()


@pytest.mark.namespaced
def test_only_who_has_the_key_gets_in(encrypted: KubeCluster, namespace: str, dask_image: str) -> None:
    address = encrypted.scheduler_address
    assert address.startswith("tls://")
    assert is_refused(address.replace("tls://", "tcp://"), None)
    assert is_refused_without_a_certificate(address, encrypted.security.tls_ca_file)
    with KubeCluster(
        name="other", namespace=namespace, image=dask_image, n_workers=0, tls=True, quiet=True
    ) as other:
        assert is_refused(address, other.security)
    with Client(encrypted) as client:
        assert client.submit(sum, [10, 1]).result(timeout=120) == 11
        workers = client.scheduler_info()["workers"]
        assert all(worker.startswith("tls://") for worker in workers)


def test_another_process_connects_by_name(encrypted: KubeCluster, namespace: str) -> None:
    script = (
        "from dask_k8s_client import KubeCluster\n"
        f"with KubeCluster.from_name('encrypted', namespace={namespace!r}, quiet=True) as cluster:\n"
        "    print(cluster.get_client().submit(sum, [10, 1]).result(timeout=120))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=240)
    assert done.stdout == "11\n", done.stderr


def test_its_key_is_in_memory_only(encrypted: KubeCluster) -> None:
    assert "Temporary (In-memory)" in repr(encrypted.security)
    assert "PRIVATE" not in repr(encrypted.security)


def test_who_may_not_read_the_secret_is_told_the_rule(
    encrypted: KubeCluster,
    kube: Kube,
    kubeconfig: object,
    namespace: str,
    tmp_path: object,
) -> None:
    import yaml

    forwarding = {"apiGroups": [""], "resources": ["pods/portforward"], "verbs": ["get", "create"]}
    grant(kube, namespace, [*DOCUMENTED_ROLE, forwarding])
    path = tmp_path / "limited"  # type: ignore[operator]
    path.write_text(yaml.safe_dump(kubeconfig_of(kube, kubeconfig, namespace)))  # type: ignore[arg-type]
    with pytest.raises(ForbiddenError, match=r"resources: \[secrets\]\n +resourceNames: \[encrypted-tls\]"):
        KubeCluster.from_name("encrypted", namespace=namespace, kubeconfig=str(path), quiet=True)


def test_a_certificate_of_ones_own_is_used_and_its_end_told(
    encrypted: KubeCluster, kube: Kube, namespace: str, dask_image: str
) -> None:
    written = kube.get("secrets", "encrypted-tls", namespace)
    mine = {key: written[key] for key in ("apiVersion", "kind", "type", "data")}
    kube.create({**mine, "metadata": {"name": "mine"}}, namespace)
    with KubeCluster(
        name="own",
        namespace=namespace,
        image=dask_image,
        n_workers=1,
        tls={"secretName": "mine", "dashboard": True},
        quiet=True,
    ) as cluster:
        with Client(cluster) as client:
            assert client.submit(sum, [10, 1]).result(timeout=120) == 11
        found = kube.wait(
            DASK_CLUSTERS, "own", namespace, until=lambda found: found["status"]["tls"].get("notAfter")
        )
    made = kube.get(DASK_CLUSTERS, "encrypted", namespace)["status"]["tls"]
    assert found["status"]["tls"] == {
        "secretName": "mine",
        "certificate": made["certificate"],
        "notAfter": made["notAfter"],
    }


def test_https_is_served_if_asked(kube: Kube, namespace: str, dask_image: str) -> None:
    with KubeCluster(
        name="served", namespace=namespace, image=dask_image, n_workers=2, tls={"dashboard": True}, quiet=True
    ) as cluster:
        assert cluster.dashboard_link.startswith("https://")
        where = urlsplit(cluster.dashboard_link)
        context = ssl.create_default_context(cadata=cluster.security.tls_ca_file)
        with (
            socket.create_connection((where.hostname, where.port), SOON) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as served,
        ):
            served.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            assert b"200" in served.recv(100)
        cluster.wait_for_workers(2, timeout=120)
        # The controller asks there which worker may go.
        cluster.scale(1)
        kube.wait_all("pods", namespace, until=lambda pods: len(pods) == 2)


@pytest.mark.full
def test_it_begins_and_ends_on_a_live_cluster(kube: Kube, namespace: str, cluster_manifest: Manifest) -> None:
    kube.create(cluster_manifest("live", n_workers=1), namespace)
    await_speaking(kube, namespace, "tcp://")
    with (
        KubeCluster.from_name("live", namespace=namespace, quiet=True) as cluster,
        Client(cluster) as client,
    ):
        slow = client.submit(lambda: __import__("time").sleep(20), pure=False)
        eventually(lambda: client.processing(), until=lambda found: any(found.values()))
        kube.patch(DASK_CLUSTERS, "live", {"spec": {"tls": {}}}, namespace)
        pending = kube.wait(DASK_CLUSTERS, "live", namespace, until=is_pending)
        assert pending["status"]["schedulerAddress"].startswith("tcp://")
        slow.release()
    await_speaking(kube, namespace, "tls://")
    with (
        KubeCluster.from_name("live", namespace=namespace, quiet=True) as cluster,
        Client(cluster) as client,
    ):
        assert client.submit(sum, [10, 1]).result(timeout=120) == 11
    kube.patch(DASK_CLUSTERS, "live", {"spec": {"tls": None}}, namespace)
    await_speaking(kube, namespace, "tcp://")
    assert "tls" not in kube.get(DASK_CLUSTERS, "live", namespace)["status"]


def is_pending(cluster: Object) -> bool:
    return any(
        item["type"] == "Reconciling" and item["reason"] == "SchedulerChangePending"
        for item in cluster["status"]["conditions"]
    )


def await_speaking(kube: Kube, namespace: str, scheme: str) -> None:
    """Wait until a cluster is ready and all its pods speak so."""

    def is_ready(cluster: Object) -> bool:
        status = cluster.get("status", {})
        return status.get("schedulerAddress", "").startswith(scheme) and holds(cluster, "Ready")

    def is_spoken_by_all(pods: dict[str, Object]) -> bool:
        spoken = {labels.TLS_SECRET in pod["metadata"]["annotations"] for pod in pods.values()}
        return len(pods) == 2 and spoken == {scheme == "tls://"}

    kube.wait_all("pods", namespace, until=is_spoken_by_all)
    kube.wait(DASK_CLUSTERS, "live", namespace, until=is_ready)


@pytest.fixture
def hasty_certificates(controller: ControllerProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A controller whose certificates are renewed after 20 seconds."""
    monkeypatch.setenv("DASK_KUBERNETES__CONTROLLER__CERTIFICATE_LIFETIME", "30")
    controller.stop()
    controller.start()
    yield
    monkeypatch.undo()
    controller.stop()
    controller.start()


@pytest.mark.full
@pytest.mark.usefixtures("hasty_certificates")
def test_a_certificate_is_renewed_when_nothing_is_lost_by_it(
    kube: Kube, namespace: str, dask_image: str
) -> None:
    def secrets() -> set[str]:
        """What the scheduler speaks with; nothing while one follows another."""
        pods = pods_of(kube, "renewed", namespace, "scheduler")
        return {pod["metadata"]["annotations"][labels.TLS_SECRET] for pod in pods}

    with (
        KubeCluster(
            name="renewed", namespace=namespace, image=dask_image, n_workers=1, tls=True, quiet=True
        ) as cluster,
        Client(cluster) as client,
    ):
        [first] = secrets()
        held = client.submit(os.getpid, pure=False)
        result = held.result(timeout=120)
        kube.wait(
            DASK_CLUSTERS,
            "renewed",
            namespace,
            until=lambda found: found["status"]["tls"]["secretName"] != first,
        )
        assert secrets() == {first}
        assert held.result(timeout=120) == result
        held.release()
        eventually(secrets, until=lambda found: found and first not in found)
        eventually(
            lambda: client.submit(sum, [10, 1], pure=False).result(timeout=60),
            until=lambda found: found == 11,
        )
