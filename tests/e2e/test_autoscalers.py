"""DaskAutoscalers follow what real schedulers have to do, seen through the API server alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from distributed import wait

from dask_k8s_controller.cluster import children
from dask_k8s_models import make_autoscaler_spec, make_job_spec, make_worker_group_spec
from tests.conformance.kubectl import Kubectl, need_kubectl
from tests.conformance.waiting import eventually
from tests.e2e.conftest import DASK_CLUSTERS, WORKER_GROUPS, is_running, pods_of
from tests.e2e.test_scaling import await_workers, connected, executions
from tests.harness.examples import documented
from tests.harness.kube import Kube, Object
from tests.harness.worker_tasks import sent_to

AUTOSCALERS = "daskautoscalers.kubernetes.dask.org"
JOBS = "daskjobs.kubernetes.dask.org"

Manifest = Callable[..., Object]

AT_ONCE = {
    "scaleUp": {"stabilizationWindowSeconds": 0},
    "scaleDown": {"stabilizationWindowSeconds": 0, "maxPercent": 100},
}

WORK = """
import time
from dask.distributed import Client, get_worker

def work(seconds):
    get_worker().log_event("began", seconds)
    time.sleep(seconds)
    return bytes(1000)

client = Client()
futures = client.map(work, [2 + n / 100 for n in range(12)] + [25])
results = client.gather(futures)
began = [event for _, event in client.get_events("began")]
assert len(began) == len(set(began)) == 13, sorted(began)
print("each task ran once")
"""
"""Many short tasks and a long one, on as many workers as there happen to be; none may run twice."""


def replicas(group: Object) -> int:
    found: int = group["spec"]["worker"]["replicas"]
    return found


def reached(group: Object) -> int | None:
    """How many pods a group has, if its status is of now."""
    status = group.get("status", {})
    is_of_now = status.get("observedGeneration") == group["metadata"]["generation"]
    return status.get("replicas") if is_of_now else None


def condition(item: Object, name: str) -> tuple[str, str]:
    conditions = item.get("status", {}).get("conditions", [])
    return next(((one["status"], one["reason"]) for one in conditions if one["type"] == name), ("", ""))


def await_condition(kube: Kube, namespace: str, autoscaler: str, kind: str, *wanted: str) -> Object:
    """Wait for a status and reason of an autoscaler's condition."""
    return kube.wait(
        AUTOSCALERS, autoscaler, namespace, until=lambda found: condition(found, kind) == wanted, timeout=120
    )


@pytest.fixture
def thin_cluster(kube: Kube, namespace: str, cluster_manifest: Manifest) -> Callable[..., Object]:
    """Make a real cluster whose workers have one thread each, and wait for its scheduler."""

    def make(name: str, n_workers: int = 0) -> Object:
        command = ["dask", "worker", "--nthreads", "1"]
        kube.create(cluster_manifest(name, n_workers=n_workers, worker_command=command), namespace)
        return kube.wait(
            DASK_CLUSTERS,
            name,
            namespace,
            until=lambda cluster: condition(cluster, "SchedulerReady")[0] == "True",
            timeout=120,
        )

    return make


@pytest.mark.full
@pytest.mark.usefixtures("controller", "protocol")
def test_from_zero_to_the_maximum_and_back_without_running_anything_twice(
    kube: Kube, namespace: str, thin_cluster: Callable[..., Object], dask_image: str
) -> None:
    thin_cluster("busy")
    kube.create(make_autoscaler_spec("busy", 0, 3, behavior=AT_ONCE), namespace)
    kube.wait(AUTOSCALERS, "busy", namespace, until=lambda found: condition(found, "Ready")[0] == "True")
    job = make_job_spec("load", ["python", "-c", WORK], dask_image, cluster_name="busy", backoff_limit=0)
    kube.create(job, namespace)

    kube.wait(WORKER_GROUPS, "busy-default", namespace, until=lambda group: replicas(group) == 3, timeout=120)
    scaler = kube.wait(
        AUTOSCALERS, "busy", namespace, until=lambda found: found["status"].get("currentReplicas") == 3
    )
    assert scaler["status"]["desiredReplicas"] >= 3
    assert scaler["status"]["lastScaleTime"]

    ended = kube.wait(
        JOBS,
        "load",
        namespace,
        until=lambda job: job.get("status", {}).get("jobStatus") in ("Successful", "Failed"),
        timeout=180,
    )
    assert ended["status"]["jobStatus"] == "Successful", ended["status"]
    kube.wait(WORKER_GROUPS, "busy-default", namespace, until=lambda group: replicas(group) == 0)
    kube.wait_all("pods", namespace, until=lambda pods: not [name for name in pods if "-worker-" in name])
    scaler = kube.wait(
        AUTOSCALERS, "busy", namespace, until=lambda found: found["status"]["currentReplicas"] == 0
    )
    assert scaler["status"]["desiredReplicas"] == 0


@pytest.mark.usefixtures("controller")
def test_the_documented_autoscaler(
    kube: Kube, namespace: str, thin_cluster: Callable[..., Object], dask_image: str
) -> None:
    """Bounds from the manifest hold at once; the number stays when the autoscaler is deleted."""
    thin_cluster("simple")
    assert kube.get(WORKER_GROUPS, "simple-default", namespace)["spec"]["worker"]["replicas"] == 0

    kube.create(documented("autoscaler.yaml", dask_image), namespace)

    kube.wait(WORKER_GROUPS, "simple-default", namespace, until=lambda group: replicas(group) == 1)
    scaler = kube.wait(
        AUTOSCALERS, "simple", namespace, until=lambda found: found["status"].get("currentReplicas") == 1
    )
    assert scaler["status"]["desiredReplicas"] == 1
    kube.wait_all("pods", namespace, until=lambda pods: sum("-worker-" in name for name in pods) == 1)
    assert scaler["metadata"]["ownerReferences"][0]["kind"] == "DaskCluster"

    kube.delete(AUTOSCALERS, "simple", namespace)
    kube.gone(AUTOSCALERS, "simple", namespace)
    assert replicas(kube.get(WORKER_GROUPS, "simple-default", namespace)) == 1


@pytest.mark.usefixtures("controller")
def test_what_gitops_applied_stays_as_it_was_applied(
    kube: Kube, namespace: str, thin_cluster: Callable[..., Object]
) -> None:
    """Neither cluster nor autoscaler change; the group does, through its scale subresource."""
    before = thin_cluster("steady")
    manifest = make_autoscaler_spec("steady", 1, 3, behavior=AT_ONCE)
    created = kube.create(manifest, namespace)
    kube.wait(WORKER_GROUPS, "steady-default", namespace, until=lambda group: replicas(group) == 1)
    assert kube.get(DASK_CLUSTERS, "steady", namespace)["spec"] == before["spec"]
    assert kube.get(AUTOSCALERS, "steady", namespace)["spec"] == created["spec"]
    group = kube.get(WORKER_GROUPS, "steady-default", namespace)
    managers = [entry for entry in group["metadata"]["managedFields"] if entry.get("subresource") == "scale"]
    assert managers


@pytest.mark.namespaced
@pytest.mark.usefixtures("controller")
def test_any_group_can_be_scaled(
    kube: Kube, namespace: str, thin_cluster: Callable[..., Object], dask_image: str
) -> None:
    thin_cluster("groups")
    group = make_worker_group_spec("groups", "extra", dask_image, n_workers=0)
    kube.create(group, namespace)
    kube.create(make_autoscaler_spec("groups", 1, 2, worker_group="extra", behavior=AT_ONCE), namespace)
    kube.wait(WORKER_GROUPS, "groups-extra", namespace, until=lambda group: replicas(group) == 1)
    assert replicas(kube.get(WORKER_GROUPS, "groups-default", namespace)) == 0
    kube.wait_all("pods", namespace, until=lambda pods: any("extra-worker" in name for name in pods))


@pytest.fixture
def idle_cluster(kube: Kube, namespace: str, idle_cluster_manifest: Manifest) -> Callable[..., Object]:
    """Make a cluster whose scheduler only waits, so that nobody answers."""

    def make(name: str, **options: Any) -> Object:
        kube.create(idle_cluster_manifest(name, **options), namespace)
        return kube.wait(DASK_CLUSTERS, name, namespace, until=is_running)

    return make


@pytest.mark.usefixtures("controller")
def test_kubernetes_own_autoscaler_finds_what_it_needs(
    kube: Kube, namespace: str, idle_cluster: Callable[..., Object]
) -> None:
    """Played by hand: it reads a scale, measures the pods that its selector selects, and writes the scale.

    https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/
    """
    idle_cluster("measured", n_workers=2)
    path = kube.path(WORKER_GROUPS, namespace, "measured-default", "scale")

    def scaled_to(count: int) -> Object:
        kube.wait(WORKER_GROUPS, "measured-default", namespace, until=lambda group: reached(group) == count)
        scale: Object = kube.request("GET", path)
        assert (scale["apiVersion"], scale["kind"]) == ("autoscaling/v1", "Scale")
        assert (scale["spec"]["replicas"], scale["status"]["replicas"]) == (count, count)
        return scale

    def measured(scale: Object) -> set[str]:
        pods = kube.list("pods", namespace, scale["status"]["selector"])
        assert {pod["metadata"]["ownerReferences"][0]["name"] for pod in pods} == {"measured-default"}
        return {pod["metadata"]["name"] for pod in pods}

    scale = scaled_to(2)
    before = measured(scale)
    assert len(before) == 2
    scale["spec"]["replicas"] = 3
    kube.request("PUT", path, json=scale)
    after = measured(scaled_to(3))
    assert len(after) == 3
    assert before < after
    assert kube.get(DASK_CLUSTERS, "measured", namespace)["spec"]["worker"]["replicas"] == 2


@pytest.mark.usefixtures("controller")
class TestWaiting:
    """Without an answer of the scheduler nothing changes, and the status says why."""

    def test_an_unreachable_scheduler(
        self, kube: Kube, namespace: str, idle_cluster: Callable[..., Object]
    ) -> None:
        idle_cluster("silent", n_workers=2)
        kube.create(make_autoscaler_spec("silent", 3, 5), namespace)
        await_condition(kube, namespace, "silent", "Ready", "False", "SchedulerUnreachable")
        assert replicas(kube.get(WORKER_GROUPS, "silent-default", namespace)) == 2

    def test_a_cluster_that_comes_later(
        self, kube: Kube, namespace: str, idle_cluster: Callable[..., Object]
    ) -> None:
        kube.create(make_autoscaler_spec("late", 1, 5), namespace)
        await_condition(kube, namespace, "late", "Ready", "False", "ClusterNotFound")
        cluster = idle_cluster("late", n_workers=0)
        scaler = await_condition(kube, namespace, "late", "Ready", "False", "SchedulerUnreachable")
        assert scaler["metadata"]["ownerReferences"][0]["uid"] == cluster["metadata"]["uid"]
        kube.delete(DASK_CLUSTERS, "late", namespace)
        kube.gone(AUTOSCALERS, "late", namespace)

    def test_a_suspended_cluster(self, kube: Kube, namespace: str, idle_cluster_manifest: Manifest) -> None:
        manifest = idle_cluster_manifest("asleep", n_workers=1)
        manifest["spec"]["suspend"] = True
        kube.create(manifest, namespace)
        kube.create(make_autoscaler_spec("asleep", 3, 5), namespace)
        await_condition(kube, namespace, "asleep", "Ready", "False", "Suspended")
        assert replicas(kube.get(WORKER_GROUPS, "asleep-default", namespace)) == 1
        assert pods_of(kube, "asleep", namespace) == []

    def test_of_two_for_one_group_the_later_is_stalled_until_the_first_is_gone(
        self, kube: Kube, namespace: str, idle_cluster: Callable[..., Object]
    ) -> None:
        idle_cluster("one", n_workers=1)
        kube.create(make_autoscaler_spec("one", 1, 5, name="a-first"), namespace)
        kube.wait(AUTOSCALERS, "a-first", namespace, until=lambda found: condition(found, "Ready")[0])
        kube.create(make_autoscaler_spec("one", 2, 5, name="b-second"), namespace)
        await_condition(kube, namespace, "b-second", "Stalled", "True", "GroupHasAutoscaler")
        assert condition(kube.get(AUTOSCALERS, "a-first", namespace), "Stalled")[0] == "False"
        kube.delete(AUTOSCALERS, "a-first", namespace)
        kube.wait(
            AUTOSCALERS, "b-second", namespace, until=lambda found: condition(found, "Stalled")[0] == "False"
        )


@pytest.mark.usefixtures("controller")
def test_a_group_at_zero_comes_for_the_tasks_that_need_what_it_offers(
    kube: Kube, namespace: str, thin_cluster: Callable[..., Object], dask_image: str
) -> None:
    """And goes again, and unrestricted tasks don't start it; nor does the other group come for its tasks."""
    cluster = thin_cluster("mixed")
    worker = {**cluster["spec"]["worker"], "replicas": 0, "resources": {"GPU": 1}}
    gpus = make_worker_group_spec("mixed", "gpu", n_workers=0)
    kube.create({**gpus, "spec": {"cluster": "mixed", "worker": worker}}, namespace)
    kube.create(make_autoscaler_spec("mixed", 0, 2, behavior=AT_ONCE), namespace)
    kube.create(
        make_autoscaler_spec("mixed", 0, 2, worker_group="gpu", name="mixed-gpu", behavior=AT_ONCE),
        namespace,
    )

    def count(group: str) -> int:
        return replicas(kube.get(WORKER_GROUPS, f"mixed-{group}", namespace))

    with connected("mixed", namespace, 0) as client:
        restricted = client.map(str, range(4), resources={"GPU": 1}, pure=False)
        assert client.gather(restricted, direct=False) == ["0", "1", "2", "3"]
        assert count("default") == 0
        del restricted
        kube.wait(
            WORKER_GROUPS, "mixed-gpu", namespace, until=lambda group: replicas(group) == 0, timeout=120
        )

        plain = client.map(str, range(4), pure=False)
        assert client.gather(plain, direct=False) == ["0", "1", "2", "3"]
        assert count("gpu") == 0
        del plain

        impossible = client.submit(str, 1, resources={"TPU": 1}, pure=False)
        told = await_condition(kube, namespace, "mixed", "Unsatisfiable", "True", "NoGroupOffers")
        assert any("TPU=1" in item["message"] for item in told["status"]["conditions"])
        del impossible


@pytest.fixture
def mixed_cluster(
    kube: Kube, namespace: str, thin_cluster: Callable[..., Object]
) -> Callable[..., Callable[[str], int]]:
    """Make a cluster with a default group at zero and others that offer something, each autoscaled."""

    def make(name: str, minimum: int = 0, **offers: dict[str, float]) -> Callable[[str], int]:
        cluster = thin_cluster(name)
        kube.create(make_autoscaler_spec(name, minimum, 2, behavior=AT_ONCE), namespace)
        for group, resources in offers.items():
            worker = {**cluster["spec"]["worker"], "replicas": 0, "resources": resources}
            manifest = make_worker_group_spec(name, group, n_workers=0)
            kube.create({**manifest, "spec": {"cluster": name, "worker": worker}}, namespace)
            scaler = make_autoscaler_spec(name, 0, 2, worker_group=group, behavior=AT_ONCE)
            scaler["metadata"]["name"] = f"{name}-{group}"
            kube.create(scaler, namespace)
        return lambda group: replicas(kube.get(WORKER_GROUPS, f"{name}-{group}", namespace))

    return make


def told(kube: Kube, namespace: str, name: str, condition_type: str) -> str:
    """What a condition of an autoscaler says."""
    conditions = kube.get(AUTOSCALERS, name, namespace)["status"]["conditions"]
    return next((str(one["message"]) for one in conditions if one["type"] == condition_type), "")


@pytest.mark.usefixtures("controller")
def test_a_memory_group_comes_and_goes_and_bursts_of_other_tasks_leave_it_and_gpus_at_zero(
    kube: Kube, namespace: str, mixed_cluster: Callable[..., Callable[[str], int]]
) -> None:
    count = mixed_cluster("joins", memory={"MEMORY": 64e9}, gpu={"GPU": 1, "MEMORY": 64e9})
    with connected("joins", namespace, 0) as client:
        joins = client.map(str, range(4), resources={"MEMORY": 32e9}, pure=False)
        assert client.gather(joins, direct=False) == ["0", "1", "2", "3"]
        assert (count("default"), count("gpu")) == (0, 0)
        events = [event["message"] for event in kube.list("events", namespace)]
        assert any("tasks that need MEMORY=3.2e+10" in message for message in events), events
        del joins
        kube.wait(WORKER_GROUPS, "joins-memory", namespace, until=lambda found: replicas(found) == 0)

        burst = client.map(str, range(200), pure=False)
        assert client.gather(burst, direct=False) == [*map(str, range(200))]
        assert (count("memory"), count("gpu")) == (0, 0)


@pytest.mark.usefixtures("controller")
def test_results_on_the_last_gpu_worker_are_moved_but_not_those_that_are_for_it_alone(
    kube: Kube, namespace: str, mixed_cluster: Callable[..., Callable[[str], int]]
) -> None:
    mixed_cluster("held", gpu={"GPU": 1})
    with connected("held", namespace, 0) as client:
        results = client.map(str, range(9), resources={"GPU": 1}, pure=False)
        wait(results, timeout=120)
        (gpu,) = client.scheduler_info()["workers"]
        bound = client.submit(str, "bound", workers=[gpu], pure=False)
        assert bound.result(timeout=60) == "bound"

        # A worker comes that could take over all, but may not hold what is for the other alone.
        await_condition(kube, namespace, "held-gpu", "ScalingLimited", "True", "ResultsHeld")
        assert gpu in client.scheduler_info()["workers"]
        del bound
        kube.wait(WORKER_GROUPS, "held-gpu", namespace, until=lambda found: replicas(found) == 0, timeout=120)
        await_workers(kube, namespace, "held", 1)
        assert gpu not in client.scheduler_info()["workers"]
        assert client.gather(results) == [*map(str, range(9))]


@pytest.mark.usefixtures("controller")
def test_tasks_for_a_worker_that_has_gone_start_none_and_are_told(
    kube: Kube, namespace: str, mixed_cluster: Callable[..., Callable[[str], int]]
) -> None:
    """And such that may run elsewhere if need be, do."""
    count = mixed_cluster("bound", 1, gpu={"GPU": 1})
    with connected("bound", namespace, 1) as client:
        gone = "tcp://10.255.255.254:1"
        lost = client.submit(str, 1, workers=[gone], pure=False)
        loose = client.submit(str, 2, workers=[gone], allow_other_workers=True, pure=False)
        assert loose.result(timeout=60) == "2"
        await_condition(kube, namespace, "bound-gpu", "Unsatisfiable", "True", "NoGroupOffers")
        said = told(kube, namespace, "bound-gpu", "Unsatisfiable")
        assert "1 task that needs a particular worker or host" in said
        assert (count("default"), count("gpu")) == (1, 0)
        assert not lost.done()


@pytest.mark.usefixtures("controller")
def test_kubectl_describe_tells_what_an_autoscaler_grew_for_and_what_nobody_can_run(
    kubeconfig: Path, namespace: str, tmp_path: Path, mixed_cluster: Callable[..., Callable[[str], int]]
) -> None:
    need_kubectl()
    kubectl = Kubectl(kubeconfig, namespace, tmp_path / "cache")
    mixed_cluster("told", gpu={"GPU": 1})
    with connected("told", namespace, 0) as client:
        impossible = client.map(str, range(3), resources={"TPU": 2}, pure=False)
        needy = client.map(str, range(4), resources={"GPU": 1}, pure=False)
        assert client.gather(needy, direct=False) == ["0", "1", "2", "3"]
        text = eventually(
            lambda: kubectl("describe", "daskautoscaler", "told-gpu"),
            until=lambda found: "3 tasks that need TPU=2" in found and "SuccessfulRescale" in found,
        )
        assert "told-gpu has 1 workers now, before 0. There are 4 tasks that need GPU=1." in text
        assert re.search(r"No group of the cluster can run 3 tasks that need TPU=2\.", text)
        assert re.search(r"Type:\s+Unsatisfiable", text)
        assert all(not one.done() for one in impossible)


@pytest.mark.full
@pytest.mark.usefixtures("controller")
def test_where_only_the_route_for_needs_is_missing_workers_follow_one_number_and_are_drained(
    kube: Kube, namespace: str, cluster_manifest: Manifest
) -> None:
    """As with a scheduler that was started by a release before it: the rest of its routes is there."""
    manifest = cluster_manifest("older", n_workers=0, worker_command=["dask", "worker", "--nthreads", "1"])
    container = manifest["spec"]["scheduler"]["spec"]["containers"][0]
    container["env"] = [
        *container.get("env", ()),
        {"name": children.PRELOAD_SOURCE, "value": without_demand()},
    ]
    kube.create(manifest, namespace)
    kube.create(make_autoscaler_spec("older", 0, 2, behavior=AT_ONCE), namespace)
    with connected("older", namespace, 0) as client:
        tasks = sent_to(client)
        work = client.map(tasks.work, range(8), seconds=2, pure=False)
        assert sorted(client.gather(work)) == [*range(8)]
        del work
        kube.wait(
            WORKER_GROUPS, "older-default", namespace, until=lambda found: replicas(found) == 0, timeout=120
        )
        assert {name: count for name, count in executions(client).items() if count != 1} == {}


def without_demand() -> str:
    """The module that a scheduler loads, without the route that tells what tasks need."""
    source, route = children.preload_source(), ", Demand)"
    assert source.count(route) == 1
    return source.replace(route, ")")
