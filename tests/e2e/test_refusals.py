"""Schedulers that answer with malice: told, and in nobody else's way."""

from __future__ import annotations

import textwrap
from collections.abc import Callable

import pytest

from tests.e2e.conftest import DASK_CLUSTERS, WORKER_GROUPS, is_running, pods_of
from tests.harness.flows import holds
from tests.harness.kube import Kube, Object

MALICE = """
import http.server, itertools

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response({status})
        for name, value in {headers}.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            for block in {blocks}:
                self.wfile.write(block)
        except OSError:
            pass  # nobody listens any more

    do_POST = do_GET

http.server.ThreadingHTTPServer(("", 8787), Handler).serve_forever()
"""


def message_of(found: Object, condition: str) -> str:
    conditions = found.get("status", {}).get("conditions", ())
    return next((item["message"] for item in conditions if item["type"] == condition), "")


@pytest.mark.full
@pytest.mark.usefixtures("controller")
def test_malicious_schedulers_lose_no_worker_and_hold_up_no_other(
    kube: Kube, namespace: str, idle_cluster_manifest: Callable[..., Object]
) -> None:
    malice = {
        "endless": answers(blocks="itertools.repeat(b'[' * 65536)"),
        "malformed": answers(blocks="[b'{\"workers\": ']"),
        "of-wrong-types": answers(blocks="[b'{\"workers\": [1, null]}']"),
        "elsewhere": answers(status=307, headers={"Location": "http://169.254.169.254/latest/meta-data/"}),
    }
    for name, program in malice.items():
        cluster = idle_cluster_manifest(name, n_workers=2)
        container = cluster["spec"]["scheduler"]["spec"]["containers"][0]
        container["command"] = ["python", "-c", program]
        kube.create(cluster, namespace)
    for name in malice:
        kube.wait(DASK_CLUSTERS, name, namespace, until=lambda found: holds(found, "Ready"), timeout=300)

    for name in malice:
        kube.patch(DASK_CLUSTERS, name, {"spec": {"worker": {"replicas": 1}}}, namespace)
    for name in malice:
        group = kube.wait(
            WORKER_GROUPS, f"{name}-default", namespace, until=distrusts_its_scheduler, timeout=120
        )
        print(f"{name}: {message_of(group, 'Ready')}")
        assert len(pods_of(kube, name, namespace, "worker")) == 2

    kube.create(idle_cluster_manifest("honest", n_workers=1), namespace)
    kube.wait(DASK_CLUSTERS, "honest", namespace, until=is_running, timeout=30)


def answers(blocks: str = "[]", status: int = 200, headers: dict[str, str] | None = None) -> str:
    return textwrap.dedent(MALICE).format(blocks=blocks, status=status, headers=headers or {})


def distrusts_its_scheduler(group: Object) -> bool:
    return any(
        item["type"] == "Ready"
        and item["status"] == "False"
        and item["reason"] in ("SchedulerUnreachable", "SchedulerRoutesMissing", "SchedulerAnswersBadly")
        for item in group.get("status", {}).get("conditions", ())
    )
