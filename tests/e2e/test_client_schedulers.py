"""Schedulers as they are in the wild: without probes, slow, behind a prefix, with other protocols."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from distributed import Client
from distributed.security import Security

from dask_k8s_client import KubeCluster, SchedulerStartupError, ValidationError
from dask_k8s_client.errors import ResourceTimeoutError
from tests.e2e.conftest import DASK_CLUSTERS, Patience
from tests.harness.kube import Kube, Object

pytestmark = pytest.mark.usefixtures("controller")

Manifest = Callable[..., Object]


def scheduler(manifest: Object) -> Object:
    """The container of a cluster's scheduler."""
    container: Object = manifest["spec"]["scheduler"]["spec"]["containers"][0]
    return container


def without_probes(manifest: Object, command: list[str]) -> Object:
    """A scheduler whose pod counts as ready before it listens, as most manifests in the wild have it."""
    container = scheduler(manifest)
    for key in ("readinessProbe", "livenessProbe", "args"):
        container.pop(key, None)
    container["command"] = command
    return manifest


@pytest.mark.full
def test_a_scheduler_that_listens_long_after_its_pod_is_ready_is_waited_for(
    namespace: str, cluster_manifest: Manifest
) -> None:
    command = ["sh", "-c", "sleep 5; exec dask scheduler"]
    spec = without_probes(cluster_manifest("slow", n_workers=1), command)
    with (
        KubeCluster(custom_cluster_spec=spec, namespace=namespace, quiet=True) as cluster,
        Client(cluster) as client,
    ):
        assert client.submit(sum, [10, 1]).result(timeout=120) == 11


@pytest.mark.usefixtures("controller_at_work")
def test_a_scheduler_that_never_listens_is_told_and_nothing_is_left(
    kube: Kube, namespace: str, cluster_manifest: Manifest, patience: Patience
) -> None:
    spec = without_probes(cluster_manifest("mute", n_workers=0), ["sleep", "3600"])
    spec["spec"]["scheduler"]["spec"]["terminationGracePeriodSeconds"] = 1
    limit = patience(3)
    began = time.monotonic()
    with pytest.raises(ResourceTimeoutError, match=r"can't be reached at tcp://\S+ within") as caught:
        KubeCluster(custom_cluster_spec=spec, namespace=namespace, resource_timeout=limit, quiet=True)
    assert time.monotonic() - began >= limit
    # What is in use already is no advice.
    assert "port_forward_cluster_ip" not in str(caught.value)
    kube.gone(DASK_CLUSTERS, "mute", namespace, timeout=60)


@pytest.mark.usefixtures("controller_at_work")
def test_a_scheduler_that_crashes_instead_is_told_with_its_log(
    kube: Kube, namespace: str, cluster_manifest: Manifest, patience: Patience
) -> None:
    command = ["sh", "-c", "sleep 2; echo what went wrong; exit 3"]
    spec = without_probes(cluster_manifest("crashing", n_workers=0), command)
    with pytest.raises(SchedulerStartupError, match="what went wrong"):
        KubeCluster(custom_cluster_spec=spec, namespace=namespace, resource_timeout=patience(6), quiet=True)
    kube.gone(DASK_CLUSTERS, "crashing", namespace, timeout=60)


def test_the_dashboards_link_has_its_prefix(namespace: str, cluster_manifest: Manifest) -> None:
    spec = cluster_manifest("prefixed", n_workers=0)
    container = scheduler(spec)
    container["args"] = [*container["args"], "--dashboard-prefix", "user/me"]
    for probe in ("readinessProbe", "livenessProbe"):
        container[probe]["httpGet"]["path"] = "/user/me/health"
    with KubeCluster(custom_cluster_spec=spec, namespace=namespace, quiet=True) as cluster:
        assert cluster.dashboard_link.endswith(f":{cluster.forwarded_dashboard_port}/user/me/status")
        with urllib.request.urlopen(cluster.dashboard_link, timeout=30) as answer:
            assert answer.status == 200


def test_a_websocket_scheduler_is_reached_by_its_protocol(namespace: str, cluster_manifest: Manifest) -> None:
    spec = cluster_manifest("sockets", n_workers=0)
    container = scheduler(spec)
    container["args"] = [*container["args"], "--protocol", "ws"]
    with KubeCluster(custom_cluster_spec=spec, namespace=namespace, quiet=True) as cluster:
        assert cluster.scheduler_address.startswith("ws://")
        with Client(cluster) as client:
            assert client.scheduler_info()["address"].startswith("ws://")


@pytest.fixture
def certificates(kube: Kube, namespace: str, tmp_path: Path) -> dict[str, str]:
    """Files of an authority, a certificate and its key, which pods find in a Secret."""
    authority = trustme.CA()
    mine = authority.issue_cert("dask.example.com")
    content = {
        "ca.pem": authority.cert_pem.bytes().decode(),
        "cert.pem": mine.cert_chain_pems[0].bytes().decode(),
        "key.pem": mine.private_key_pem.bytes().decode(),
    }
    kube.create(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tls"}, "stringData": content}, namespace
    )
    for name, text in content.items():
        (tmp_path / name).write_text(text)
    return {name: str(tmp_path / name) for name in content}


def encrypted(manifest: Object) -> Object:
    """A scheduler that speaks TLS only, with certificates of a Secret."""
    pod = manifest["spec"]["scheduler"]["spec"]
    pod["volumes"] = [{"name": "tls", "secret": {"secretName": "tls"}}]
    container = scheduler(manifest)
    container["volumeMounts"] = [{"name": "tls", "mountPath": "/tls"}]
    options = ["--tls-ca-file", "/tls/ca.pem", "--tls-cert", "/tls/cert.pem", "--tls-key", "/tls/key.pem"]
    container["args"] = [*container["args"], "--protocol", "tls", *options]
    return manifest


def test_a_scheduler_that_speaks_tls_is_reached_with_security(
    namespace: str, cluster_manifest: Manifest, certificates: dict[str, str], patience: Patience
) -> None:
    spec = encrypted(cluster_manifest("secret", n_workers=0))
    security = Security(
        tls_ca_file=certificates["ca.pem"],
        tls_client_cert=certificates["cert.pem"],
        tls_client_key=certificates["key.pem"],
        require_encryption=True,
    )
    options: dict[str, Any] = {"namespace": namespace, "quiet": True}
    with KubeCluster(custom_cluster_spec=spec, security=security, **options) as cluster:
        assert cluster.scheduler_address.startswith("tls://")
        with Client(cluster) as client:  # takes the cluster's security
            assert client.scheduler_info()["address"].startswith("tls://")
        with pytest.raises(ValidationError, match=r"speaks TLS: pass security="):
            KubeCluster.from_name("secret", resource_timeout=patience(3), **options)
    with pytest.raises(TypeError, match=r"security is 'yes'"):
        KubeCluster(name="foo", security="yes", **options)


def test_a_deleted_groups_results_are_handed_on(namespace: str, dask_image: str) -> None:
    with (
        KubeCluster(name="heirs", namespace=namespace, image=dask_image, n_workers=1, quiet=True) as cluster,
        Client(cluster) as client,
    ):
        cluster.add_worker_group("big", n_workers=1)
        client.wait_for_workers(2, timeout=120)
        workers = client.scheduler_info(n_workers=-1)["workers"]
        big = [address for address, worker in workers.items() if "heirs-big" in str(worker["id"])]
        held = [client.scatter(number, hash=False, workers=big) for number in range(9)]

        cluster.delete_worker_group("big")

        assert client.gather(held) == list(range(9))
        assert {group.name for group in cluster.resource.worker_groups()} == {"heirs-default"}
