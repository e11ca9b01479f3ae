"""The scripts of examples/ run as users run them; what they send to the API server is what they show.

Some need what a test's Kubernetes lacks, such as nodes with GPUs, a registry's credentials or an older image.
They end once the scheduler of the cluster that they create turns out not to start.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from distributed import Client, Event

from dask_k8s_client import KubeCluster
from dask_k8s_models import make_cluster_spec
from tests.conformance.waiting import eventually
from tests.e2e.conftest import DASK_CLUSTERS, WORKER_GROUPS, skip_unless_a_scheduler_of_2_gib_fits
from tests.e2e.test_scaling import connected, executions
from tests.harness.examples import EXAMPLES, copied_to, documented, with_image
from tests.harness.kube import Kube, Object
from tests.harness.kubeconfigs import in_namespace
from tests.harness.pages import python_of
from tests.harness.worker_tasks import sent_to

DASK_AUTOSCALERS = "daskautoscalers.kubernetes.dask.org"

pytestmark = pytest.mark.usefixtures("controller")


@dataclass(frozen=True)
class Traces:
    """What a script did: how it ended, what it wrote, and what happened to our kinds meanwhile."""

    code: int
    output: str
    events: dict[str, list[tuple[str, Object]]]

    def of(self, resource: str, name: str) -> list[tuple[str, Object]]:
        return [(what, item) for what, item in self.events[resource] if item["metadata"]["name"] == name]

    def created(self, resource: str, name: str) -> Object:
        """The object as it was created."""
        [created] = [item for what, item in self.of(resource, name) if what == "ADDED"]
        return created

    @property
    def names_of_groups(self) -> set[str]:
        return {item["metadata"]["name"] for _, item in self.events[WORKER_GROUPS]}


@pytest.fixture
def run(
    kube: Kube, kubeconfig: Path, namespace: str, dask_image: str, tmp_path: Path
) -> Callable[..., Traces]:
    """Run a script among the examples, with the image under test, until it and its clusters have gone."""
    folder = copied_to(tmp_path, dask_image)

    def run(script: str, content: str = "", **settings: Any) -> Traces:
        if content:
            (folder / script).write_text(with_image(content, dask_image))
        resources = (DASK_CLUSTERS, WORKER_GROUPS, DASK_AUTOSCALERS)
        since = {
            resource: kube.request("GET", kube.path(resource, namespace))["metadata"]["resourceVersion"]
            for resource in resources
        }
        done = subprocess.run(
            [sys.executable, script],
            cwd=folder,
            env={
                **os.environ,
                "KUBECONFIG": in_namespace(kubeconfig, namespace, tmp_path / "kubeconfig"),
                "DASK_KUBERNETES__NAMESPACE": namespace,
                "DASK_KUBERNETES__IMAGE": dask_image,
                **{f"DASK_KUBERNETES__{name.upper()}": str(value) for name, value in settings.items()},
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
            check=False,
        )
        print(done.stdout)
        kube.wait_all(DASK_CLUSTERS, namespace, until=lambda found: not found)

        def events_since(version: str, resource: str) -> list[tuple[str, Object]]:
            return list(kube.watch(resource, namespace, timeout=1, resourceVersion=version))

        with ThreadPoolExecutor() as pool:
            events = dict(zip(since, pool.map(events_since, since.values(), since), strict=True))
        return Traces(done.returncode, done.stdout, events)

    return run


@pytest.mark.parametrize("name", ["cluster.yaml", "annotations.yaml"])
def test_a_manifest_becomes_a_cluster_with_workers(
    kube: Kube, namespace: str, dask_image: str, name: str
) -> None:
    manifest = documented(name, dask_image)

    kube.create(manifest, namespace)

    kube.wait(
        DASK_CLUSTERS,
        manifest["metadata"]["name"],
        namespace,
        until=lambda found: found.get("status", {}).get("readyReplicas") == 2,
        timeout=120,
    )


def test_a_private_cluster_speaks_tls_behind_a_network_policy(
    kube: Kube, namespace: str, dask_image: str
) -> None:
    kube.create(documented("tls.yaml", dask_image), namespace)
    kube.wait(
        DASK_CLUSTERS,
        "private",
        namespace,
        until=lambda found: found.get("status", {}).get("readyReplicas") == 2,
        timeout=120,
    )

    with (
        KubeCluster.from_name("private", namespace=namespace, quiet=True) as cluster,
        Client(cluster) as client,
    ):
        assert cluster.scheduler_address.startswith("tls://")
        assert client.submit(sum, [10, 1]).result(timeout=120) == 11
    policy = kube.get(DASK_CLUSTERS, "private", namespace)["status"]["networkPolicyName"]
    [rule, *_] = kube.get("networkpolicies.networking.k8s.io", policy, namespace)["spec"]["ingress"]
    assert {"podSelector": {"matchLabels": {"app": "notebook"}}} in rule["from"]


def test_groups_at_zero_come_for_the_tasks_that_need_them(
    kube: Kube, namespace: str, dask_image: str
) -> None:
    """With what their pods ask of nodes taken off, which those of a test may lack."""
    text = with_image((EXAMPLES / "gpu_and_memory_groups.yaml").read_text(), dask_image)
    for manifest in yaml.safe_load_all(text):
        if manifest["kind"] == "DaskWorkerGroup":
            del manifest["spec"]["worker"]["spec"]["containers"][0]["resources"]
        kube.create(manifest, namespace)
    kube.wait(
        DASK_CLUSTERS,
        "mixed",
        namespace,
        until=lambda found: "schedulerAddress" in found.get("status", {}),
        timeout=120,
    )

    def replicas(group: str) -> int:
        found: int = kube.get(WORKER_GROUPS, group, namespace)["spec"]["worker"]["replicas"]
        return found

    with connected("mixed", namespace, 0) as client:
        # They run until all is seen: workers that any task can use come for results of those that are done.
        hold = sent_to(client).hold
        large = client.submit(hold, "large", "seen", resources={"MEMORY": 32e9})
        eventually(lambda: executions(client)["hold large"])
        assert replicas("mixed-memory") == 1
        assert replicas("mixed-gpu") == replicas("mixed-default") == 0

        fast = client.submit(hold, "fast", "seen", resources={"GPU": 1})
        eventually(lambda: executions(client)["hold fast"])
        assert replicas("mixed-gpu") == 1
        assert replicas("mixed-default") == 0
        Event("seen", client=client).set()
        assert client.gather([large, fast]) == ["large", "fast"]


def spec_by_default(kube: Kube, manifest: Object, namespace: str) -> Object:
    """What the API server makes of a manifest."""
    return kube.create(manifest, namespace, dryRun="All")["spec"]


def ran_or_could_not_start(traces: Traces) -> bool:
    return traces.code == 0 or bool(re.search("(SchedulerStartup|ResourceTimeout)Error: ", traces.output))


def test_keyword_arguments_and_the_manifest_that_they_stand_for_are_the_same(
    run: Callable[..., Traces], kube: Kube, namespace: str, dask_image: str
) -> None:
    skip_unless_a_scheduler_of_2_gib_fits(kube)
    resources = {"requests": {"memory": "2Gi"}, "limits": {"memory": "64Gi"}}
    by_hand = make_cluster_spec(name="foo", image=dask_image, n_workers=2, resources=resources)

    traces = run("custom_cluster_spec.py")

    assert traces.code == 0
    created = traces.created(DASK_CLUSTERS, "foo")
    assert created["spec"] == spec_by_default(kube, by_hand, namespace)
    for part in ("worker", "scheduler"):
        [container] = created["spec"][part]["spec"]["containers"]
        assert container["resources"] == resources


@pytest.mark.full
def test_environment_variables_reach_scheduler_and_workers(
    run: Callable[..., Traces], kube: Kube, namespace: str, dask_image: str
) -> None:
    by_hand = make_cluster_spec(name="foo", image=dask_image, n_workers=2, env={"FOO": "bar"})

    traces = run("environment.py")

    assert traces.code == 0
    created = traces.created(DASK_CLUSTERS, "foo")
    assert created["spec"] == spec_by_default(kube, by_hand, namespace)
    for part in ("worker", "scheduler"):
        assert created["spec"][part]["spec"]["containers"][0]["env"] == [{"name": "FOO", "value": "bar"}]


@pytest.mark.full
def test_the_options_that_most_people_change(run: Callable[..., Traces], kube: Kube, dask_image: str) -> None:
    skip_unless_a_scheduler_of_2_gib_fits(kube)
    traces = run("customised.py")

    assert traces.code == 0
    spec = traces.created(DASK_CLUSTERS, "mycluster")["spec"]
    assert spec["worker"]["replicas"] == 3
    for part in ("worker", "scheduler"):
        [container] = spec[part]["spec"]["containers"]
        assert container["image"] == dask_image
        assert container["env"] == [{"name": "FOO", "value": "bar"}]
        assert container["resources"] == {"requests": {"memory": "2Gi"}, "limits": {"memory": "64Gi"}}


def test_workers_select_their_nodes(run: Callable[..., Traces]) -> None:
    traces = run("node_selector.py")

    assert traces.code == 0
    spec = traces.created(DASK_CLUSTERS, "selector-example")["spec"]
    assert spec["worker"]["replicas"] == 2
    assert spec["worker"]["spec"]["nodeSelector"] == {"disktype": "ssd"}
    assert "nodeSelector" not in spec["scheduler"]["spec"]


def test_jupyter_runs_on_the_scheduler(run: Callable[..., Traces]) -> None:
    traces = run("jupyter_server.py", resource_timeout=5)

    assert ran_or_could_not_start(traces)
    spec = traces.created(DASK_CLUSTERS, "jupyter-example")["spec"]
    [scheduler] = spec["scheduler"]["spec"]["containers"]
    assert scheduler["args"] == ["dask", "scheduler", "--jupyter"]
    for part in ("worker", "scheduler"):
        [container] = spec[part]["spec"]["containers"]
        assert container["env"] == [{"name": "EXTRA_PIP_PACKAGES", "value": "jupyterlab"}]


def test_a_group_of_workers_with_gpus(run: Callable[..., Traces]) -> None:
    traces = run("gpu_workers.py")

    assert traces.code == 0
    [name] = traces.names_of_groups - {"example-default"}
    assert name.startswith("example-")
    spec = traces.created(WORKER_GROUPS, name)["spec"]
    assert spec["cluster"] == "example"
    assert spec["worker"]["replicas"] == 2
    assert spec["worker"]["spec"]["nodeSelector"] == {"cloud.google.com/gke-nodepool": "gpu-node-pool"}
    assert spec["worker"]["spec"]["containers"][0]["resources"] == {"limits": {"nvidia.com/gpu": 1}}


def test_images_come_from_a_private_registry(run: Callable[..., Traces]) -> None:
    traces = run("private_registry.py", resource_timeout=5)

    assert ran_or_could_not_start(traces)
    spec = traces.created(DASK_CLUSTERS, "custom")["spec"]
    for part in ("worker", "scheduler"):
        assert spec[part]["spec"]["imagePullSecrets"] == [{"name": "regcred"}]
        assert spec[part]["spec"]["containers"][0]["image"] == "foo.com/jacobtomlinson/dask:latest"


def test_a_classic_pod_spec_becomes_the_workers(run: Callable[..., Traces], dask_image: str) -> None:
    classic = documented("worker-spec.yaml", dask_image)["spec"]

    traces = run("classic_pod_spec.py")

    assert traces.code == 0
    spec = traces.created(DASK_CLUSTERS, "merge-example")["spec"]
    assert spec["worker"]["spec"] == {**classic, "terminationGracePeriodSeconds": 60}


def test_the_page_about_the_classic_cluster_keeps_its_promise(
    run: Callable[..., Traces], dask_image: str
) -> None:
    first, *_ = python_of("docs/migrating-from-classic.md")
    pod = documented("worker-spec.yaml", dask_image)

    traces = run("first.py", first)

    assert traces.code == 0, traces.output
    created = traces.created(DASK_CLUSTERS, "analysis")
    assert created["spec"]["worker"]["spec"] == pod["spec"]
    assert created["metadata"]["labels"] == pod["metadata"]["labels"]


def test_a_cluster_from_a_file_is_what_kubectl_makes_of_it(
    run: Callable[..., Traces], kube: Kube, namespace: str, dask_image: str
) -> None:
    manifest = documented("cluster-spec.yaml", dask_image)

    traces = run("cluster_from_file.py", resource_timeout=5)

    assert ran_or_could_not_start(traces)
    created = traces.created(DASK_CLUSTERS, "example")
    assert created["metadata"]["labels"] == {"foo": "bar"}
    assert created["spec"] == spec_by_default(kube, manifest, namespace)


def test_groups_of_workers_are_added_scaled_and_deleted(run: Callable[..., Traces]) -> None:
    traces = run("worker_groups.py")

    assert traces.code == 0
    created = traces.created(WORKER_GROUPS, "foo-highmem")["spec"]["worker"]
    assert created["replicas"] == 2
    [container] = created["spec"]["containers"]
    assert container["resources"] == {"requests": {"memory": "2Gi"}, "limits": {"memory": "64Gi"}}
    events = traces.of(WORKER_GROUPS, "foo-highmem")
    assert 5 in {group["spec"]["worker"]["replicas"] for _, group in events}
    assert events[-1][0] == "DELETED"


def test_a_cluster_is_scaled_by_hand_and_by_itself(run: Callable[..., Traces]) -> None:
    traces = run("scaling.py")

    assert traces.code == 0
    replicas = [group["spec"]["worker"]["replicas"] for _, group in traces.of(WORKER_GROUPS, "foo-default")]
    assert replicas[0] == 0
    assert replicas.index(5) < replicas.index(1)
    spec = traces.created(DASK_AUTOSCALERS, "foo")["spec"]
    assert (spec["cluster"], spec["minimum"], spec["maximum"]) == ("foo", 1, 10)
    assert traces.of(DASK_AUTOSCALERS, "foo")[-1][0] == "DELETED"
    assert replicas[-1] == 1


def test_a_job_computes_what_a_function_says(run: Callable[..., Traces]) -> None:
    traces = run("job_from_python.py")

    assert traces.code == 0, traces.output
    assert "Successful\n" in traces.output
    [pi] = re.findall(r"pi is about ([\d.]+)", traces.output)
    assert abs(float(pi) - math.pi) < 0.01
    assert traces.created(DASK_CLUSTERS, "pi")["spec"]["worker"]["replicas"] == 2
