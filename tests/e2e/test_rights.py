"""The controller's table of rights against what it asks for: none is missing, none is to spare."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from aiohttp import web

from dask_k8s_controller.kubernetes.rules import DASK, Where, rules
from dask_k8s_local import LocalKubernetes
from dask_k8s_local.api import Request
from dask_k8s_models import make_autoscaler_spec, make_job_spec
from dask_k8s_models.definitions import custom_resource_definitions
from tests.conformance.waiting import eventually
from tests.conftest import is_local
from tests.e2e.conftest import DASK_CLUSTERS, is_running, pods_of
from tests.harness.accounts import grant, grant_everywhere, is_allowed, kubeconfig_of, revoke_everywhere
from tests.harness.audit import Needed, granted, needed
from tests.harness.controller import ControllerProcess
from tests.harness.installed import ClusterWideController, InstalledController
from tests.harness.kube import Kube, Object
from tests.harness.proxy import ApiProxy

JOBS = "daskjobs.kubernetes.dask.org"
AUTOSCALERS = "daskautoscalers.kubernetes.dask.org"
WORKERS = "dask.org/component=worker"

ELECTION = "DASK_KUBERNETES__CONTROLLER__LEADER_ELECTION__"

RACES = {("", "services", "get"), ("", "services", "delete"), (DASK, "daskworkergroups", "delete")}
"""What an earlier cluster of a name has left is deleted by the garbage collector or by the controller."""


class OnceEach:
    """Concerns the first write of each verb to each kind, but to subresources and what nobody looks up."""

    def __init__(self, *methods: str) -> None:
        self._methods = methods
        self._seen: set[tuple[str, str]] = set()

    def __call__(self, request: Request) -> bool:
        kind = (request.method, request.resource)
        kind_of_object = request.resource.partition(".")[0]
        if request.method not in self._methods or kind in self._seen or not request.namespace:
            return False
        if request.subresource or kind_of_object in ("events", "leases"):
            return False
        self._seen.add(kind)
        return True


@pytest.fixture
def rights() -> list[Object]:
    """All rights, those of a controller outside the cluster as well."""
    return rules(*Where)


@pytest.fixture
def account(kube: Kube, namespace: str, rights: list[Object]) -> Iterator[str]:
    """A service account that has them, and nothing more."""
    name = f"controller-of-{namespace}"
    kube.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}, namespace)
    grant_everywhere(kube, name, rights, {"name": name, "namespace": namespace})
    yield name
    revoke_everywhere(kube, name)


@pytest.mark.usefixtures("alone")
def test_all_that_the_controller_does_needs_exactly_its_rights(
    kube: Kube,
    kubeconfig: Path,
    namespace: str,
    account: str,
    rights: list[Object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cluster_manifest: Callable[..., Object],
    dask_image: str,
) -> None:
    limited = tmp_path / "limited"
    limited.write_text(yaml.safe_dump(kubeconfig_of(kube, kubeconfig, namespace, account)))
    for key, value in {"ENABLED": "true", "NAMESPACE": namespace, "RENEWAL": "1"}.items():
        monkeypatch.setenv(ELECTION + key, value)
    asked: set[Needed] = set()
    made: list[Object] = []

    def heard(request: web.Request, body: bytes) -> None:
        asked.update(needed(request.method, request.path, request.query, request.content_type, body))
        is_whole = request.method == "POST" or request.content_type.startswith("application/apply-patch")
        if is_whole and "/proxy/" not in request.path:
            made.append(json.loads(body))

    with ApiProxy(limited) as proxy:
        proxy.heard = heard
        proxy.faults.break_connection(when=OnceEach("POST"))
        proxy.faults.fail(409, when=OnceEach("PUT", "PATCH", "DELETE"))
        with ControllerProcess(proxy.kubeconfig, f"--namespace={namespace}*") as controller:
            try:
                everything_that_users_do(kube, namespace, cluster_manifest, dask_image)
            finally:
                print(controller.log)
            assert "forbidden" not in controller.log.lower()
    assert asked - granted(rights) == set(), "missing"
    assert granted(rights) - asked - RACES == set(), "to spare"
    validate_strictly(made)


def validate_strictly(made: list[Object]) -> None:
    """Hold what was made of Kubernetes' own kinds against their schemas, to the last field."""
    own = [item for item in made if not item["apiVersion"].startswith(f"{DASK}/")]
    assert {item["kind"] for item in own} >= {
        *("Event", "Lease", "NetworkPolicy", "Pod", "PodDisruptionBudget", "Secret", "Service")
    }
    for item in own:
        kubernetes_validate.validate(item, "1.37.0", strict=True)


def everything_that_users_do(
    kube: Kube, namespace: str, cluster_manifest: Callable[..., Object], image: str
) -> None:
    """Create, scale, autoscale, shut down, run a job, and make again what has left its children behind."""
    cluster = cluster_manifest("all", n_workers=2, tls=True, network_policy=True)
    office = {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}
    cluster["spec"]["networkPolicy"]["peers"] = [office, {"namespaceSelector": {}, "podSelector": {}}]
    for component in ("scheduler", "worker"):
        cluster["spec"][component]["disruptionBudget"] = {}
    kube.create(cluster, namespace)
    await_workers(kube, namespace, 2)
    kube.patch(DASK_CLUSTERS, "all", {"metadata": {"labels": {"team": "a"}}}, namespace)
    scale(kube, namespace, 1)
    kube.create(make_autoscaler_spec("all", name="more", minimum=2, maximum=2), namespace)
    await_workers(kube, namespace, 2)

    kube.delete(AUTOSCALERS, "more", namespace)
    kube.delete(DASK_CLUSTERS, "all", namespace)
    kube.create(cluster, namespace)
    await_workers(kube, namespace, 2)
    scale(kube, namespace, 1)
    kube.patch(DASK_CLUSTERS, "all", {"spec": {"idleTimeout": 1}}, namespace)
    kube.gone(DASK_CLUSTERS, "all", namespace)

    script = "import time; from dask.distributed import Client; Client(); time.sleep(3)"
    kube.create(
        make_job_spec("job", ["python", "-c", script], image, 1, ttl_seconds_after_finished=1), namespace
    )
    kube.wait(JOBS, "job", namespace, until=is_running_job)
    kube.patch(JOBS, "job", {"metadata": {"labels": {"team": "a"}}}, namespace)
    kube.gone(JOBS, "job", namespace)


def is_running_job(job: Object) -> bool:
    return bool(job.get("status", {}).get("jobStatus") == "Running")


def scale(kube: Kube, namespace: str, count: int) -> None:
    kube.patch(DASK_CLUSTERS, "all", {"spec": {"worker": {"replicas": count}}}, namespace)
    kube.wait_all("pods", namespace, until=lambda pods: len(pods) == count, labelSelector=WORKERS)


def await_workers(kube: Kube, namespace: str, count: int) -> None:
    """Wait until the scheduler of a cluster that is ready knows so many workers."""

    def is_ready(cluster: Object) -> bool:
        status = cluster.get("status", {})
        return is_running(cluster) and status.get("readyReplicas") == status.get("replicas") == count

    def known() -> int:
        pod, *_ = pods_of(kube, "all", namespace, "scheduler")
        path = f"pods/{pod['metadata']['name']}:8787/proxy/json/identity.json"
        identity = kube.request("GET", f"/api/v1/namespaces/{namespace}/{path}")
        return len(identity["workers"])

    kube.wait(DASK_CLUSTERS, "all", namespace, until=is_ready)
    eventually(known, until=lambda found: found == count)


@pytest.mark.namespaced
def test_the_installed_controller_has_its_rights_where_it_should(
    kube: Kube, namespace: str, controller: InstalledController
) -> None:
    """By nature of the tests' own controller: with a Role, it can do nothing elsewhere."""
    is_cluster_wide = isinstance(controller, ClusterWideController)
    for where in (namespace, "default"):
        for rule in rules(Where.WATCHED):
            allowed = is_allowed(kube, where, rule, controller.name, of=controller.namespace)
            assert allowed == (is_cluster_wide or where == namespace), (where, rule)
    for rule in rules(Where.CLUSTER):
        allowed = is_allowed(kube, "", rule, controller.name, of=controller.namespace)
        assert allowed == is_cluster_wide, rule


def test_a_controller_that_can_not_hear_of_its_kinds_says_so_and_ends(
    pytestconfig: pytest.Config, tmp_path: Path, idle_cluster_manifest: Callable[..., Object]
) -> None:
    """So Kubernetes starts it again, until an administrator has installed them."""
    if not is_local(pytestconfig):
        pytest.skip("another Kubernetes has the definitions already")
    with LocalKubernetes(addons=()) as kubernetes, Kube.from_kubeconfig(kubernetes.kubeconfig) as kube:
        grant(kube, "default", rules(Where.WATCHED, Where.OUTSIDE), "tenant")
        limited = tmp_path / "limited"
        limited.write_text(yaml.safe_dump(kubeconfig_of(kube, kubernetes.kubeconfig, "default", "tenant")))
        with ControllerProcess(limited, "--namespace=default") as controller:
            controller.wait(60)
            assert (
                "of daskclusters, daskworkergroups, daskjobs, daskautoscalers are missing" in controller.log
            )
            assert "kubectl apply --server-side -f schemas/crds.yaml" in controller.log
        kubernetes.apply(custom_resource_definitions())
        with ControllerProcess(limited, "--namespace=default"):
            kube.create(idle_cluster_manifest("late", n_workers=1), "default")
            kube.wait(DASK_CLUSTERS, "late", "default", until=is_running)
