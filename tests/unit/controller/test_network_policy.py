"""A cluster's NetworkPolicy: whom it lets through, and how it comes, heals and goes without being read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dask_k8s_controller.cluster.observe import ClusterPlan, ObservedCluster
from dask_k8s_controller.cluster.plan import plan
from dask_k8s_controller.cluster.status import status
from dask_k8s_controller.kubernetes.rules import RIGHTS
from dask_k8s_controller.plans.actions import ApplyUnread, Outcome
from dask_k8s_controller.plans.unread import HEAL_AFTER
from dask_k8s_controller.settings import Policy
from dask_k8s_local.workloads.selectors import selects
from dask_k8s_models.cluster import ClusterStatus
from dask_k8s_models.hashes import digest
from tests.unit.controller.builders import cluster, observed_cluster

POLICY = Policy()
MADE = {"networkPolicyName": "c-dask"}


def guarded(*peers: dict[str, Any], **more: Any) -> ObservedCluster:
    spec = {"peers": list(peers)} if peers else {}
    return observed_cluster(cluster(networkPolicy=spec, status=MADE), **more)


def applied(of: ClusterPlan) -> list[dict[str, Any]]:
    return [action.body for action in of.actions if isinstance(action, ApplyUnread)]


def selectors(observed: ObservedCluster) -> list[dict[str, Any]]:
    [body] = applied(plan(observed, POLICY))
    [rule] = body["spec"]["ingress"]
    return list(rule["from"])


def known(observed: ObservedCluster, age: float = 0.0) -> ObservedCluster:
    """The same, when its policy has been applied."""
    [body] = applied(plan(replace(observed, applied={}), POLICY))
    return replace(observed, applied={"NetworkPolicy": (digest(body), -age)})


def named(observed: ObservedCluster) -> str | None:
    told = status(observed, plan(observed, POLICY), Outcome())
    ClusterStatus.model_validate(told)
    return told.get("networkPolicyName")


def test_it_is_about_scheduler_and_workers_and_about_who_reaches_them() -> None:
    [body] = applied(plan(guarded(), POLICY))
    selected = body["spec"]["podSelector"]
    assert selected["matchLabels"] == {"dask.org/cluster-name": "c"}
    assert selected["matchExpressions"][0]["values"] == ["scheduler", "worker"]
    assert body["spec"]["policyTypes"] == ["Ingress"]
    assert body["metadata"]["ownerReferences"][0]["uid"] == "cluster"


def test_its_own_pods_its_jobs_and_its_clients_come_through() -> None:
    own, clients = selectors(guarded())
    assert own["podSelector"]["matchExpressions"][0]["values"] == ["scheduler", "worker", "job-runner"]
    assert clients == {"podSelector": {"matchLabels": {"dask.org/client-of": "c"}}}


def test_the_operator_comes_through_from_its_own_namespace() -> None:
    *_, operator = selectors(guarded(operator_namespace="dask-operator"))
    assert operator == {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "dask-operator"}},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "dask-kubernetes-operator"}},
    }


def test_others_can_be_let_through() -> None:
    peer = {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}
    assert selectors(guarded(peer))[-1] == peer


def test_it_is_applied_when_it_changes_and_now_and_then() -> None:
    present = known(guarded())
    assert applied(plan(present, POLICY)) == []
    assert plan(present, POLICY).requeue_at is not None
    assert applied(plan(known(guarded(), age=HEAL_AFTER), POLICY))
    changed = replace(present, subject=guarded({"podSelector": {}}).subject)
    assert applied(plan(changed, POLICY))


def test_without_it_nothing_is_asked_of_anybody() -> None:
    assert applied(plan(observed_cluster(), POLICY)) == []


def test_one_that_is_no_longer_wanted_is_about_no_pod_so_that_policies_of_others_hold() -> None:
    observed = observed_cluster(cluster(status=MADE))
    [body] = applied(plan(observed, POLICY))
    assert {} not in body["spec"]["ingress"]
    for component in ("scheduler", "worker", "job-runner"):
        pod = {"dask.org/cluster-name": "c", "dask.org/component": component}
        assert not selects(body["spec"]["podSelector"], pod)
    assert not selects(body["spec"]["podSelector"], {})
    assert named(observed) == "c-dask"
    assert named(known(observed)) is None


def test_the_status_names_it_once_it_is_there() -> None:
    fresh = observed_cluster(cluster(networkPolicy={}))
    assert named(fresh) is None
    assert named(known(fresh)) == "c-dask"


def test_the_operator_reads_and_deletes_no_policy() -> None:
    verbs = [
        right.verbs for rights in RIGHTS.values() for right in rights if right.resource == "networkpolicies"
    ]
    assert verbs == [("create", "patch")]
