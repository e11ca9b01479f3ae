"""PodDisruptionBudgets of groups and schedulers: what they allow, and how they come, heal and are lifted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dask_k8s_controller.cluster.observe import ObservedCluster
from dask_k8s_controller.kubernetes.rules import RIGHTS
from dask_k8s_controller.operator import KINDS
from dask_k8s_controller.plans.actions import ApplyUnread, Outcome
from dask_k8s_controller.plans.unread import HEAL_AFTER
from dask_k8s_controller.settings import Policy
from dask_k8s_controller.worker_group.observe import ObservedGroup
from dask_k8s_local.workloads.selectors import selects
from dask_k8s_models.cluster import ClusterStatus
from dask_k8s_models.hashes import digest
from dask_k8s_models.worker_group import WorkerGroupStatus
from tests.unit.controller.builders import cluster, group, observed_cluster, observed_group

Observed = ObservedCluster | ObservedGroup

OF_KIND = {kind.resource.kind: kind for kind in KINDS}
WORKERS = {
    "dask.org/cluster-name": "c",
    "dask.org/component": "worker",
    "dask.org/workergroup-name": "c-default",
}
SCHEDULER = {"dask.org/cluster-name": "c", "dask.org/component": "scheduler"}


def of_group(**budget: Any) -> ObservedGroup:
    return observed_group(group(disruptionBudget=budget))


def of_scheduler(**more: Any) -> ObservedCluster:
    return observed_cluster(cluster(scheduler={"disruptionBudget": {}}, **more))


def applied(observed: Observed) -> list[dict[str, Any]]:
    actions = OF_KIND[observed.subject.kind].plan(observed, Policy()).actions
    return [action.body for action in actions if isinstance(action, ApplyUnread)]


def known(observed: Observed, age: float = 0.0) -> Any:
    """The same, when its budget has been applied."""
    [body] = applied(observed)
    return replace(observed, applied={"PodDisruptionBudget": (digest(body), -age)})


def named(observed: Observed) -> str | None:
    kind = OF_KIND[observed.subject.kind]
    told = kind.status(observed, kind.plan(observed, Policy()), Outcome())
    model = ClusterStatus if isinstance(observed, ObservedCluster) else WorkerGroupStatus
    model.model_validate(told)
    return told.get("disruptionBudgetName")


def test_that_of_a_group_is_about_its_workers_and_goes_with_it() -> None:
    [body] = applied(of_group())
    assert (body["apiVersion"], body["kind"]) == ("policy/v1", "PodDisruptionBudget")
    assert body["metadata"]["name"] == "c-default"
    assert body["metadata"]["ownerReferences"][0]["uid"] == "group"
    assert body["spec"]["selector"] == {"matchLabels": WORKERS}


@pytest.mark.parametrize("share", [1, 3, "50%"])
def test_a_group_says_how_many_may_go(share: int | str) -> None:
    [body] = applied(of_group(maxUnavailable=share))
    assert body["spec"]["maxUnavailable"] == share


def test_one_worker_goes_after_the_other_unless_the_group_says_more() -> None:
    [body] = applied(of_group())
    assert body["spec"]["maxUnavailable"] == 1


def test_workers_that_are_not_ready_hold_no_node_up() -> None:
    [body] = applied(of_group())
    assert body["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_that_of_a_scheduler_lets_nobody_evict_it() -> None:
    [body] = applied(of_scheduler())
    assert body["metadata"]["name"] == "c-scheduler"
    assert body["metadata"]["ownerReferences"][0]["uid"] == "cluster"
    assert body["spec"] == {"selector": {"matchLabels": SCHEDULER}, "maxUnavailable": 0}


def test_it_carries_no_label_by_which_pods_are_found() -> None:
    assert "dask.org/component" not in applied(of_scheduler())[0]["metadata"]["labels"]
    assert "dask.org/component" not in applied(of_group())[0]["metadata"]["labels"]


def test_without_the_field_there_is_none() -> None:
    assert applied(observed_cluster()) == applied(observed_group()) == []
    assert named(observed_cluster()) is named(observed_group()) is None


@pytest.mark.parametrize("observed", [of_group(), of_scheduler()], ids=["group", "scheduler"])
def test_it_is_applied_when_it_changes_and_now_and_then(observed: Observed) -> None:
    assert named(observed) is None
    present = known(observed)
    assert applied(present) == []
    assert named(present) == applied(observed)[0]["metadata"]["name"]
    assert applied(known(observed, age=HEAL_AFTER)) == applied(observed)
    assert applied(replace(present, applied={"PodDisruptionBudget": ("another", 0.0)})) == applied(observed)


@pytest.mark.parametrize(
    "observed",
    [
        observed_group(group(status={"disruptionBudgetName": "c-default"})),
        observed_cluster(cluster(status={"disruptionBudgetName": "c-scheduler"})),
    ],
    ids=["group", "scheduler"],
)
def test_one_that_is_no_longer_wanted_is_about_no_pod_so_that_there_may_be_another(
    observed: Observed,
) -> None:
    [body] = applied(observed)
    for pod in (WORKERS, SCHEDULER, {}):
        assert not selects(body["spec"]["selector"], pod)
    assert named(observed) == body["metadata"]["name"]
    assert named(known(observed)) is None


def test_the_operator_reads_and_deletes_none() -> None:
    rights = [right for kind in RIGHTS.values() for right in kind if right.resource == "poddisruptionbudgets"]
    assert {right.verbs for right in rights} == {("create", "patch")}
