"""What a KubeCluster offers while it runs; all tests of this module use one cluster."""

from __future__ import annotations

import asyncio
import os
import pickle
import time
import urllib.request
from collections.abc import Iterator

import dask
import pytest
from distributed import Client, Status, Worker
from distributed.protocol.pickle import dumps

from dask_k8s_client import (
    CreateMode,
    DaskCluster,
    KubeCluster,
    discover,
    make_cluster_spec,
    make_worker_spec,
)
from tests.conftest import a_namespace
from tests.e2e.conftest import DASK_CLUSTERS, WORKER_GROUPS, pods_of
from tests.harness.installed import InstalledController
from tests.harness.kube import Kube

AUTOSCALERS = "daskautoscalers.kubernetes.dask.org"


@pytest.fixture(scope="module", params=[False, True], ids=["tcp", "tls"])
def cluster(
    kube: Kube, controller: InstalledController, dask_image: str, request: pytest.FixtureRequest
) -> Iterator[KubeCluster]:
    with (
        a_namespace(kube) as namespace,
        controller.serves(namespace),
        KubeCluster(
            name="in-use",
            namespace=namespace,
            image=dask_image,
            n_workers=1,
            env={"COLOR": "red"},
            tls=request.param,
            quiet=True,
        ) as cluster,
    ):
        cluster.wait_for_workers(1, timeout=120)
        yield cluster


@pytest.fixture(scope="module")
def client(cluster: KubeCluster) -> Iterator[Client]:
    with Client(cluster) as client:
        yield client


def test_it_computes(client: Client) -> None:
    assert client.submit(sum, [10, 1]).result(timeout=120) == 11


def test_it_has_one_client_of_its_own_making(cluster: KubeCluster, client: Client) -> None:
    assert cluster.get_client() is client


def test_workers_have_the_environment(client: Client) -> None:
    assert client.submit(os.getenv, "COLOR").result(timeout=120) == "red"


def test_the_dashboard_answers_at_its_link(cluster: KubeCluster) -> None:
    assert cluster.dashboard_link.endswith("/status")
    with urllib.request.urlopen(cluster.dashboard_link.replace("/status", "/health"), timeout=30) as answer:
        assert answer.read() == b"ok"


def test_its_links_honour_the_template_of_kubeflow_and_jupyterhub(
    cluster: KubeCluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NB_PREFIX", "/notebook/kubeflow-user/mine")
    with dask.config.set({"distributed.dashboard.link": "{NB_PREFIX}/proxy/{host}:{port}/status"}):
        where = f"/notebook/kubeflow-user/mine/proxy/localhost:{cluster.forwarded_dashboard_port}/status"
        assert cluster.dashboard_link == where
        assert client.dashboard_link == where


def test_there_is_no_link_to_jupyter_without_jupyter(cluster: KubeCluster) -> None:
    with pytest.raises(RuntimeError, match="jupyter=True"):
        _ = cluster.jupyter_link


def test_logs_come_by_pod_name(cluster: KubeCluster, kube: Kube) -> None:
    assert cluster.namespace is not None
    [worker] = (pod["metadata"]["name"] for pod in pods_of(kube, cluster.name, cluster.namespace, "worker"))

    logs = cluster.get_logs()

    assert set(logs) == {"in-use-scheduler", worker}
    assert "Scheduler at:" in logs["in-use-scheduler"]
    assert "Registered to:" in logs[worker]


def test_plan_requested_and_observed_agree_when_all_is_there(cluster: KubeCluster) -> None:
    assert len(cluster.plan) == 1
    assert cluster.plan == cluster.requested == cluster.observed


def test_it_pictures_itself_for_notebooks_and_terminals(cluster: KubeCluster) -> None:
    page = cluster._repr_html_()
    for text in (
        "in-use",
        "Workers (default)",
        "1/1 ready",
        "Scheduler Pod",
        cluster.dashboard_link,
        *cluster.requested,
    ):
        assert text in page
    panel = asyncio.run(cluster.generate_rich_output())
    assert "in-use" in str(panel.title)
    assert "in-use" in repr(cluster)


def test_it_does_not_travel_by_pickle(cluster: KubeCluster) -> None:
    for pickled in (pickle.dumps, dumps):
        with pytest.raises(TypeError, match=r"KubeCluster\.from_name\('in-use'"):
            pickled(cluster)


def test_connecting_by_name_gives_an_equal_cluster(cluster: KubeCluster) -> None:
    with KubeCluster.from_name(cluster.name, namespace=cluster.namespace, quiet=True) as second:
        assert second == cluster
        assert second.scheduler_info["id"] == cluster.scheduler_info["id"]
        assert second.shutdown_on_close is False
        assert second.image == cluster.image
        assert second.env == {"COLOR": "red"} or {"name": "COLOR", "value": "red"} in second.env
    assert "KubeCluster.from_name" in second._repr_html_()
    assert cluster.scheduler_address not in second._repr_html_()


def test_connecting_by_name_ignores_a_cluster_that_is_configured(cluster: KubeCluster) -> None:
    where = {"kubernetes.custom-cluster-spec": make_cluster_spec("configured", namespace="elsewhere")}
    resource = DaskCluster.get(cluster.name, namespace=cluster.namespace)
    with (
        dask.config.set(where),
        KubeCluster.from_name(cluster.name, namespace=cluster.namespace, quiet=True) as second,
        resource.connect(quiet=True) as third,
    ):
        assert second == third == cluster


def test_creating_an_existing_name_joins_it_and_closing_leaves_it(cluster: KubeCluster, kube: Kube) -> None:
    with KubeCluster(name=cluster.name, namespace=cluster.namespace, n_workers=5, quiet=True) as second:
        assert second.shutdown_on_close is False
    found = kube.get(DASK_CLUSTERS, cluster.name, cluster.namespace)
    assert found["spec"]["worker"]["replicas"] == 1
    assert "deletionTimestamp" not in found["metadata"]


@pytest.mark.parametrize("mode", [CreateMode.CREATE_ONLY, "CREATE_ONLY"])
def test_create_only_refuses_an_existing_name(cluster: KubeCluster, mode: CreateMode | str) -> None:
    with pytest.raises(ValueError, match="in-use already exists and create mode is"):
        KubeCluster(name=cluster.name, namespace=cluster.namespace, create_mode=mode, quiet=True)


def test_connect_only_refuses_an_unknown_name(cluster: KubeCluster) -> None:
    with pytest.raises(ValueError, match="nowhere doesn't already exist") as caught:
        KubeCluster.from_name("nowhere", namespace=cluster.namespace, quiet=True)
    # The test, from_name, and two constructors; nothing of what goes on within.
    assert len(caught.traceback) == 4
    assert caught.value.__cause__ is None


async def test_it_is_discovered(cluster: KubeCluster) -> None:
    found = {name: kind async for name, kind in discover()}
    assert found[cluster.name] is KubeCluster


def test_a_closed_cluster_says_so(cluster: KubeCluster) -> None:
    with KubeCluster.from_name(cluster.name, namespace=cluster.namespace, quiet=True) as second:
        pass
    for use in (second.get_logs, lambda: second.scale(1), lambda: second.add_worker_group("late")):
        with pytest.raises(ValueError, match="in-use is closed"):
            use()
    assert "Closed" in str(asyncio.run(second.generate_rich_output()).renderable)


async def test_it_is_awaited_in_an_event_loop(cluster: KubeCluster) -> None:
    second = await KubeCluster.from_name(
        cluster.name, namespace=cluster.namespace, asynchronous=True, quiet=True
    )
    try:
        async with Client(second, asynchronous=True) as client:
            assert await client.submit(sum, [10, 1]) == 11
        assert set(await second.get_logs()) >= {"in-use-scheduler"}
    finally:
        await second.close()
    await second.close()


async def test_an_asynchronous_context_scales_and_adapts_with_or_without_await(
    cluster: KubeCluster, kube: Kube
) -> None:
    async with KubeCluster.from_name(
        cluster.name, namespace=cluster.namespace, asynchronous=True, quiet=True
    ) as second:
        bounds = await second.adapt(minimum=1, maximum=1)
        assert (bounds.minimum, bounds.maximum) == (1, 1)
        assert await asyncio.to_thread(kube.find, AUTOSCALERS, cluster.name, cluster.namespace)
        second.scale(1)
        await asyncio.to_thread(kube.gone, AUTOSCALERS, cluster.name, cluster.namespace)
        await second.wait_for_workers(1, timeout=120)
        # As Dask's JupyterLab extension does.
        model = second.adapt()
        await asyncio.to_thread(kube.wait, AUTOSCALERS, cluster.name, cluster.namespace, until=bool)
        assert (model.minimum, model.maximum) == (0, None)
        second.scale(1)
        await asyncio.to_thread(kube.gone, AUTOSCALERS, cluster.name, cluster.namespace)


def test_another_cluster_object_shares_its_event_loop(cluster: KubeCluster) -> None:
    with KubeCluster.from_name(
        cluster.name, namespace=cluster.namespace, loop=cluster.loop, quiet=True
    ) as second:
        assert second.loop is cluster.loop
        with Client(second) as client:
            assert client.loop is cluster.loop
            assert client.submit(sum, [10, 1]).result(timeout=120) == 11
    assert cluster.get_logs()


def test_it_adapts_twice_and_with_nothing_until_it_is_scaled(cluster: KubeCluster, kube: Kube) -> None:
    cluster.adapt(minimum=1, maximum=2)
    cluster.adapt(minimum=1, maximum=1)
    spec = kube.get(AUTOSCALERS, cluster.name, cluster.namespace)["spec"]
    assert (spec["minimum"], spec["maximum"]) == (1, 1)

    cluster.adapt()
    spec = kube.get(AUTOSCALERS, cluster.name, cluster.namespace)["spec"]
    assert (spec["minimum"], spec.get("maximum")) == (0, None)

    cluster.scale(1)
    assert kube.find(AUTOSCALERS, cluster.name, cluster.namespace) is None


@pytest.mark.parametrize(("minimum", "maximum"), [(-1, 2), (3, 2)])
def test_it_refuses_bounds_that_make_no_sense(cluster: KubeCluster, minimum: int, maximum: int) -> None:
    with pytest.raises(ValueError, match="0 <= minimum <= maximum"):
        cluster.adapt(minimum, maximum)


def test_it_scales_up_and_down(cluster: KubeCluster, client: Client) -> None:
    cluster.scale(2)
    client.wait_for_workers(2, timeout=120)
    assert len(cluster.plan) == 2

    cluster.scale(1)
    wait_for_observed(cluster, 1)


def test_waiting_ends_when_a_worker_runs_that_had_registered_before(
    cluster: KubeCluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dask_k8s_client.manager.RECHECK", 100)

    def pause(dask_worker: Worker) -> None:
        dask_worker.status = Status.paused
        dask_worker.loop.call_later(0.5, setattr, dask_worker, "status", Status.running)

    client.run(pause)
    begin = time.monotonic()
    cluster.wait_for_workers(1, timeout=40)
    assert time.monotonic() - begin < 20


@pytest.mark.parametrize("number", [-1, 1.5, True])
def test_it_refuses_numbers_of_workers_that_make_no_sense(cluster: KubeCluster, number: int) -> None:
    with pytest.raises(ValueError, match="whole number"):
        cluster.scale(number)


def test_further_groups_are_added_scaled_and_deleted(
    cluster: KubeCluster, client: Client, kube: Kube
) -> None:
    assert cluster.add_worker_group("more", n_workers=1, env={"COLOR": "blue"}) == "more"
    client.wait_for_workers(2, timeout=120)
    colors = client.run(os.getenv, "COLOR")
    assert sorted(colors.values()) == ["blue", "red"]

    cluster.scale(0, worker_group="more")
    wait_for_observed(cluster, 1)

    cluster.delete_worker_group("more")
    kube.gone(WORKER_GROUPS, "in-use-more", cluster.namespace)


def test_a_group_takes_what_is_not_said_from_its_cluster(cluster: KubeCluster, kube: Kube) -> None:
    cluster.add_worker_group("like-the-others", n=0)
    spec = kube.get(WORKER_GROUPS, "in-use-like-the-others", cluster.namespace)["spec"]
    cluster.delete_worker_group("like-the-others")
    [container] = spec["worker"]["spec"]["containers"]
    assert spec["worker"]["replicas"] == 0
    assert container["image"] == cluster.image
    assert {"name": "COLOR", "value": "red"} in container["env"]


def test_a_group_may_have_a_spec_of_its_own(cluster: KubeCluster, kube: Kube) -> None:
    worker_spec = make_worker_spec(
        cluster_name=cluster.name, n_workers=0, resources={"limits": {"nvidia.com/gpu": 1}}
    )
    worker_spec["spec"]["nodeSelector"] = {"cloud.google.com/gke-nodepool": "gpu-node-pool"}

    name = cluster.add_worker_group(custom_spec=worker_spec)

    pod_spec = kube.get(WORKER_GROUPS, f"in-use-{name}", cluster.namespace)["spec"]["worker"]["spec"]
    cluster.delete_worker_group(name)
    assert pod_spec["nodeSelector"] == {"cloud.google.com/gke-nodepool": "gpu-node-pool"}
    assert pod_spec["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": 1}


def test_an_unknown_group_is_named_with_those_that_exist(cluster: KubeCluster) -> None:
    for act in (
        lambda: cluster.scale(1, worker_group="defualt"),
        lambda: cluster.delete_worker_group("defualt"),
    ):
        with pytest.raises(ValueError, match=r"no worker group 'defualt'; it has default"):
            act()


def test_waiting_for_workers_that_do_not_come_tells_why(cluster: KubeCluster, kube: Kube) -> None:
    cluster.add_worker_group("huge", n_workers=1, resources={"requests": {"cpu": "100000"}})
    kube.wait_all(
        "pods",
        cluster.namespace,
        labelSelector="dask.org/workergroup-name=in-use-huge",
        until=lambda pods: any(
            condition.get("reason") == "Unschedulable"
            for pod in pods.values()
            for condition in pod.get("status", {}).get("conditions", [])
        ),
    )
    try:
        with pytest.raises(TimeoutError) as caught:
            cluster.wait_for_workers(9, timeout=1)
    finally:
        cluster.delete_worker_group("huge")
    [note] = caught.value.__notes__
    assert "Insufficient cpu" in note
    assert "The worker groups ask for 2 in all; `scale` asks for more." in note


def wait_for_observed(cluster: KubeCluster, number: int, timeout: float = 120) -> None:
    """Wait until the cluster has heard of so many workers."""
    deadline = time.monotonic() + timeout
    while len(cluster.observed) != number:
        assert time.monotonic() < deadline, f"after {timeout:g} s the workers are still {cluster.observed}"
        time.sleep(0.05)
