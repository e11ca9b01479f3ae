"""Policies that refuse pods, and schedulers that answer with malice: told, and in nobody else's way."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator

import pytest

from dask_k8s_local.api import Request
from tests.e2e.conftest import DASK_CLUSTERS, WORKER_GROUPS, is_running, pods_of
from tests.harness.embedded import EmbeddedController
from tests.harness.flows import CLUSTERS, NAME, Shape, await_shape, holds, manifest, of
from tests.harness.kube import Kube, Object
from tests.harness.lab import Lab, a_lab
from tests.harness.proxy import ApiProxy

UNSIGNED = 'admission webhook "policy.example.com" denied the request: the image is not signed'

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


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    with a_lab(request) as found:
        yield found


def message_of(found: Object, condition: str) -> str:
    conditions = found.get("status", {}).get("conditions", ())
    return next((item["message"] for item in conditions if item["type"] == condition), "")


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_what_an_admission_webhook_says_is_told_in_its_words(lab: Lab) -> None:
    with (
        ApiProxy(lab.kubeconfig) as proxy,
        EmbeddedController(proxy.kubeconfig, lab.schedulers),
        lab.stage() as refused,
        lab.stage() as other,
    ):

        def is_pod_of_the_refused(request: Request) -> bool:
            created = (request.verb, request.resource) == ("create", "pods")
            return created and request.namespace == refused.namespace

        policy = lab.kubernetes.faults.fail(403, UNSIGNED, when=is_pod_of_the_refused)
        lab.kube.create(manifest(2), refused.namespace)
        told = lab.kube.wait(
            CLUSTERS, NAME, refused.namespace, until=lambda found: UNSIGNED in message_of(found, "Ready")
        )
        assert holds(told, "Stalled") or holds(told, "Reconciling")
        lab.kube.create(manifest(2), other.namespace)
        await_shape(other, Shape(of(2)))

        lab.kubernetes.faults.remove(policy)
        await_shape(refused, Shape(of(2)))


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
