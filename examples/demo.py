"""A real Dask computation on a cluster made by our controller, on a Kubernetes that this script starts.

It needs neither root, containers nor a Kubernetes cluster, and it leaves nothing behind.
"""

from __future__ import annotations

import signal
import sys
import time
import warnings
from typing import Any

import dask.array as da
import kr8s
import psutil
from dask.distributed import Client, wait
from rich.console import Console
from rich.table import Table

from dask_k8s_client import KubeCluster
from dask_k8s_local import LocalKubernetes

console = Console(highlight=False)
started = time.monotonic()


class DemoFailed(Exception):
    """Something that the demonstration promises did not happen."""


def step(text: str) -> None:
    console.print(f"[dim]{time.monotonic() - started:6.1f} s[/dim]  {text}", soft_wrap=True)


def check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise DemoFailed(otherwise)


def compute(client: Client) -> float:
    """Check an identity that needs every block of two large arrays: ‖Q·R − X‖ = 0 for X = Q·R."""
    x = da.random.default_rng(seed=1).normal(size=(200_000, 50), chunks=(25_000, 50))
    q, r = da.linalg.qr(x)
    error = float(abs(q @ r - x).max().compute())
    check(error < 1e-10, f"the QR decomposition is off by {error}")
    return error


def show(cluster: KubeCluster) -> None:
    """Show what exists, as ``kubectl get dask,pods,services`` would."""
    api = kr8s.api()
    for title, kind, columns in (
        ("Clusters", "daskclusters.kubernetes.dask.org", {"PHASE": phase, "WORKERS": workers}),
        ("Pods", "pods", {"STATUS": phase, "IP": pod_ip, "NODE": node}),
        ("Services", "services", {"TYPE": service_type, "CLUSTER-IP": cluster_ip, "PORTS": ports}),
    ):
        table = Table("NAME", *columns, title=title, title_justify="left", box=None)
        for item in sorted(api.get(kind, namespace=cluster.namespace), key=lambda item: str(item.name)):
            table.add_row(item.name, *(column(item.raw) for column in columns.values()))
        console.print(table, "")


def phase(item: Any) -> str:
    return str(item["status"]["phase"])


def workers(item: Any) -> str:
    return f"{item['status']['readyReplicas']}/{item['status']['replicas']}"


def pod_ip(item: Any) -> str:
    return str(item["status"].get("podIP", ""))


def node(item: Any) -> str:
    return str(item["spec"].get("nodeName", ""))


def service_type(item: Any) -> str:
    return str(item["spec"]["type"])


def cluster_ip(item: Any) -> str:
    return str(item["spec"]["clusterIP"])


def ports(item: Any) -> str:
    return ",".join(f"{port['port']}/{port['protocol']}" for port in item["spec"]["ports"])


def demonstrate() -> str:
    with LocalKubernetes() as kubernetes:
        step(f"Kubernetes is up at {kubernetes.url}; its kubeconfig is {kubernetes.kubeconfig}")
        began = time.monotonic()
        with KubeCluster(name="demo", n_workers=2, quiet=True) as cluster, Client(cluster) as client:
            client.wait_for_workers(2, timeout=60)
            step(f"KubeCluster [bold]demo[/bold] has 2 workers after {time.monotonic() - began:.1f} s")
            error = compute(client)
            step(f"QR of a 200,000 × 50 array on those workers: largest error {error:.1e}")
            kept = client.persist(da.arange(1_000_000, chunks=100_000))
            wait(kept, timeout=60)
            show(cluster)

            cluster.scale(4)
            client.wait_for_workers(4, timeout=60)
            step("scaled to 4 workers")

            cluster.scale(1)
            limit = time.monotonic() + 60
            while len(client.scheduler_info(n_workers=-1)["workers"]) > 1:
                check(
                    time.monotonic() < limit, "three workers should have gone, and are still there after 60 s"
                )
                client.sync(client._update_scheduler_info)
                time.sleep(0.1)
            total = int(kept.sum().compute())
            check(total == 499_999_500_000, f"the persisted array sums to {total} after scaling down")
            step("scaled to 1 worker; the persisted result moved there and is whole")
        for pod in kr8s.api().get("pods", namespace="default", label_selector="dask.org/cluster-name=demo"):
            pod.wait("delete", timeout=60)
        step("closed, and the pods are gone")
        folder = kubernetes.kubeconfig.parent
    check(not folder.exists(), f"{folder} is still there")
    return f"max |Q·R − X| = {error:.1e}, Σ persisted = {total:,} after 2 → 4 → 1 workers"


def check_nothing_is_left() -> None:
    children = psutil.Process().children(recursive=True)
    check(not children, f"processes are left: {children}")
    connections = psutil.Process().net_connections()
    listening = [
        connection.laddr.port for connection in connections if connection.status == psutil.CONN_LISTEN
    ]
    check(not listening, f"ports are left open: {listening}")


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    warnings.filterwarnings("ignore", "Kubernetes version .* is not supported")  # kr8s knows up to 1.35
    try:
        result = demonstrate()
        check_nothing_is_left()
    except KeyboardInterrupt:
        console.print("interrupted; cleaned up")
        return 130
    except Exception as error:
        print(f"demo failed: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    step("no process, port or file is left")
    print(f"result: {result}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
