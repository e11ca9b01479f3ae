"""Nodes that are about to go: which those are, whom it concerns, and how workers move before."""

from __future__ import annotations

from typing import Any

import dask.config
import pytest

from dask_k8s_controller.autoscaler.observe import GroupOfWorkers
from dask_k8s_controller.cache.objects import Node, Pod
from dask_k8s_controller.cluster.kind import CLUSTER
from dask_k8s_controller.operator import Operator
from dask_k8s_controller.plans.actions import Ask, Outcome
from dask_k8s_controller.settings import Policy, Settings
from dask_k8s_controller.worker_group.kind import WORKER_GROUP
from dask_k8s_controller.worker_group.observe import ObservedGroup
from dask_k8s_controller.worker_group.status import status
from tests.harness.clocks import ManualClock
from tests.unit.controller.builders import (
    all_know,
    cluster,
    cluster_body,
    group,
    group_body,
    metadata,
    observed_cluster,
    observed_group,
    pod_body,
    pod_spec,
    worker_pod,
)
from tests.unit.controller.test_cost import cache_with
from tests.unit.controller.test_plan_group import created, deleted, marked, plan, reasons

Object = dict[str, Any]


def node_body(name: str = "n1", *taints: tuple[str, str], cordoned: bool = False, **more: Any) -> Object:
    spec: Object = {"taints": [{"key": key, "effect": effect} for key, effect in taints]}
    if cordoned:
        spec["unschedulable"] = True
    meta = metadata(name, f"uid-of-{name}", **more)
    return {"apiVersion": "v1", "kind": "Node", "metadata": meta, "spec": spec}


def bound_pod(*tolerations: Object) -> Pod:
    return Pod.of(pod_body("w1", nodeName="n1", tolerations=list(tolerations)))


def is_left(node: Object, *tolerations: Object) -> bool:
    return Node.of(node).is_left_by(bound_pod(*tolerations))


class TestANodeIsLeft:
    @pytest.mark.parametrize(
        "taint",
        [
            ("node.kubernetes.io/unschedulable", "NoSchedule"),
            ("node.kubernetes.io/out-of-service", "NoExecute"),
            ("karpenter.sh/disrupted", "NoSchedule"),
            ("karpenter.sh/disruption", "NoSchedule"),
            ("ToBeDeletedByClusterAutoscaler", "NoSchedule"),
            ("aws-node-termination-handler/spot-itn", "NoSchedule"),
            ("cloud.google.com/impending-node-termination", "NoSchedule"),
        ],
    )
    def test_when_its_end_is_announced(self, taint: tuple[str, str]) -> None:
        assert is_left(node_body("n1", ("team", "NoSchedule"), taint))

    def test_when_it_is_cordoned(self) -> None:
        assert is_left(node_body(cordoned=True))

    @pytest.mark.parametrize(
        "taint",
        [
            ("node.kubernetes.io/not-ready", "NoExecute"),
            ("node.kubernetes.io/unreachable", "NoSchedule"),
            ("DeletionCandidateOfClusterAutoscaler", "PreferNoSchedule"),
            ("aws-node-termination-handler/rebalance-recommendation", "PreferNoSchedule"),
            ("nvidia.com/gpu", "NoSchedule"),
        ],
    )
    def test_not_for_other_taints_or_mere_preferences(self, taint: tuple[str, str]) -> None:
        assert not is_left(node_body("n1", taint))

    @pytest.mark.parametrize(
        "toleration",
        [
            {"operator": "Exists"},
            {"key": "karpenter.sh/disrupted", "operator": "Exists"},
            {"key": "karpenter.sh/disrupted", "operator": "Exists", "effect": "NoSchedule"},
            {"key": "karpenter.sh/disrupted", "operator": "Equal", "value": ""},
        ],
    )
    def test_not_by_pods_that_would_be_bound_to_it_again(self, toleration: Object) -> None:
        assert not is_left(node_body("n1", ("karpenter.sh/disrupted", "NoSchedule")), toleration)

    @pytest.mark.parametrize(
        "toleration",
        [
            {"key": "karpenter.sh/disrupted", "operator": "Exists", "effect": "NoExecute"},
            {"key": "karpenter.sh/disrupted", "value": "yes"},
            {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"},
        ],
    )
    def test_by_pods_that_tolerate_something_else(self, toleration: Object) -> None:
        assert is_left(node_body("n1", ("karpenter.sh/disrupted", "NoSchedule")), toleration)

    @pytest.mark.parametrize("written", ["example.com/ends, other", ["example.com/ends"]])
    def test_when_a_taint_of_the_settings_says_so(self, written: Any) -> None:
        with dask.config.set({"kubernetes.controller.leaving-taints": written}):
            operator = Operator(Settings.from_config(), clock=ManualClock())
        tolerating = {"key": "example.com/ends", "operator": "Exists"}
        for body in (
            cluster_body(),
            group_body(),
            pod_body("w1", nodeName="n1"),
            pod_body("w2", nodeName="n1", tolerations=[tolerating]),
            node_body("n1", ("example.com/ends", "NoSchedule")),
        ):
            operator.cache.see(body)
        assert operator.cache.leaving(operator.cache.store("Pod")) == {"w1"}
        assert not is_left(node_body("n1", ("example.com/ends", "NoSchedule")))

    def test_unless_all_workers_are_for_that_node(self) -> None:
        worker = {"spec": pod_spec("worker", nodeName="n1")}
        bodies = [cluster_body(), pod_body("w1", nodeName="n1"), node_body(cordoned=True)]
        for more, leaving in (({}, {"w1"}), (worker, set())):
            cache = cache_with([*bodies, group_body(**more)])
            observed = WORKER_GROUP.observe(cache, next(iter(keys_of(cache))))
            assert observed is not None
            assert observed.leaving == leaving


def keys_of(cache: Any) -> Any:
    from dask_k8s_controller.worker_group.observe import keys

    (found,) = cache.store("DaskWorkerGroup")
    return keys(cache, found)


class TestNews:
    """A change of a node concerns the owners of its pods, if its end is announced or is no longer."""

    @pytest.fixture
    def reconciled(self) -> list[str]:
        return []

    @pytest.fixture
    def operator(self, reconciled: list[str], monkeypatch: pytest.MonkeyPatch) -> Operator:
        operator = Operator(Settings(), clock=ManualClock())
        monkeypatch.setattr(operator.queue, "add", lambda key: reconciled.append(str(key)))
        here = pod_body("w1", nodeName="n1")
        elsewhere = pod_body("w2", group="c-other", nodeName="n2")
        scheduler = pod_body("c-scheduler", component="scheduler", nodeName="n3")
        for body in (cluster_body(), group_body(), group_body("c-other", "o"), here, elsewhere, scheduler):
            operator.cache.see(body)
        del reconciled[:]
        return operator

    def test_heartbeats_reconcile_nothing(self, operator: Operator, reconciled: list[str]) -> None:
        for _ in range(100):
            operator.cache.see(node_body())
        operator.cache.see(node_body(cordoned=True))
        del reconciled[:]
        for _ in range(100):
            operator.cache.see(node_body(cordoned=True))
        assert reconciled == []

    def test_a_cordon_and_its_end_reconcile_the_groups_of_the_nodes_pods(
        self, operator: Operator, reconciled: list[str]
    ) -> None:
        for cordoned in (True, False):
            del reconciled[:]
            operator.cache.see(node_body(cordoned=cordoned))
            assert reconciled == ["DaskWorkerGroup default/c-default"]

    def test_a_cordoned_node_that_is_deleted_is_forgotten(
        self, operator: Operator, reconciled: list[str]
    ) -> None:
        operator.cache.see(node_body(cordoned=True))
        del reconciled[:]
        operator.cache.store("Node").forget("uid-of-n1")
        assert set(reconciled) == {"DaskWorkerGroup default/c-default"}
        assert operator.cache.leaving(operator.cache.store("Pod")) == frozenset()

    def test_a_cluster_is_told_of_its_schedulers_node(
        self, operator: Operator, reconciled: list[str]
    ) -> None:
        operator.cache.see(node_body("n3", cordoned=True))
        assert "DaskCluster default/c" in reconciled

    def test_of_a_node_no_more_is_kept_than_is_read(self, operator: Operator) -> None:
        operator.cache.see(node_body(labels={"team": "a"}, annotations={"a": "b"}))
        (node,) = operator.cache.store("Node")
        assert node.meta.labels == node.meta.annotations == {}


def moving(replicas: int, staying: list[Pod], leaving: list[Pod], **more: Any) -> ObservedGroup:
    pods = [*staying, *leaving]
    more = {"workers": all_know(*(pod for pod in pods if pod.is_ready)), **more}
    of = more.pop("group", None) or group(replicas=replicas)
    return observed_group(of, *pods, leaving=frozenset(pod.meta.uid for pod in leaving), **more)


def workers(prefix: str, count: int, **more: Any) -> list[Pod]:
    return [worker_pod(f"{prefix}{number}", nodeName="n1", **more) for number in range(count)]


class TestMoving:
    @pytest.mark.parametrize("count", [1, 4])
    def test_successors_come_first_and_all_at_once(self, count: int) -> None:
        made = plan(moving(4, workers("new", 4 - count), workers("old", count)))
        assert len(created(made)) == count
        assert marked(made) == deleted(made) == set()
        assert reasons(made) == ["NodesLeaving"]

    def test_there_are_never_more_than_twice_as_many(self) -> None:
        made = plan(moving(4, workers("new", 4, phase="Pending"), workers("old", 4)))
        assert created(made) == []

    def test_nobody_goes_and_nobody_is_asked_while_successors_have_no_room(self) -> None:
        made = plan(moving(2, workers("new", 2, phase="Pending"), workers("old", 2)))
        assert made.actions == made.questions == []

    def test_a_ready_successor_is_no_worker_yet(self) -> None:
        old, new = workers("old", 2), workers("new", 2)
        made = plan(moving(2, new, old, workers=all_know(*old)))
        assert marked(made) == deleted(made) == set()
        assert made.requeue_at is not None

    @pytest.mark.parametrize("at_work", [1, 2, 3])
    def test_as_many_go_as_have_a_successor_at_work(self, at_work: int) -> None:
        new = [*workers("new", at_work), *workers("late", 3 - at_work, phase="Pending")]
        assert len(marked(plan(moving(3, new, workers("old", 3))))) == at_work

    def test_a_worker_that_is_alone_moves(self) -> None:
        old, new = workers("old", 1), workers("new", 1)
        assert len(created(plan(moving(1, [], old)))) == 1
        assert marked(plan(moving(1, new, old))) == {"old0"}

    def test_the_scheduler_is_asked_before(self) -> None:
        made = plan(moving(1, workers("new", 1), workers("old", 1), workers=None))
        assert Ask.WORKERS in made.questions
        assert made.actions == []

    def test_what_is_too_many_goes_without_a_successor(self) -> None:
        made = plan(moving(1, workers("new", 1), workers("old", 2)))
        assert marked(made) == {"old0", "old1"}

    def test_an_uncordon_makes_those_superfluous_that_have_not_started(self) -> None:
        pods = [*workers("old", 2), *workers("new", 2, phase="Pending")]
        made = plan(moving(2, pods, []))
        assert deleted(made) == {"new0", "new1"}
        assert marked(made) == set()

    def test_a_group_of_none_waits_for_nobody(self) -> None:
        assert deleted(plan(moving(0, [], workers("old", 2)))) == {"old0", "old1"}

    def test_a_suspended_cluster_moves_nobody(self) -> None:
        made = plan(moving(1, [], workers("old", 1), cluster=cluster(suspend=True)))
        assert created(made) == []
        assert deleted(made) == {"old0"}

    def test_a_rollout_waits_until_workers_have_moved(self) -> None:
        old = workers("old", 2)
        outdated = workers("outdated", 2, template="older")
        made = plan(moving(4, outdated, old))
        assert len(created(made)) == 2
        assert marked(made) == deleted(made) == set()

    def test_a_worker_that_moves_has_the_present_template_afterwards(self) -> None:
        made = plan(moving(2, [], workers("old", 2, template="older")))
        assert len(created(made)) == 2


class TestTheStatus:
    def test_stays_ready_while_enough_workers_work(self) -> None:
        observed = moving(2, workers("new", 2, phase="Pending"), workers("old", 2))
        told = status(observed, plan(observed), Outcome())
        conditions = {one["type"]: one for one in told["conditions"]}
        assert conditions["Ready"]["status"] == "True"
        assert conditions["Reconciling"]["reason"] == "NodesLeaving"
        assert "(n1)" in conditions["Reconciling"]["message"]
        assert told["readyReplicas"] == 2

    def test_is_not_ready_while_some_are_missing(self) -> None:
        observed = moving(2, workers("new", 1, phase="Pending"), workers("old", 1))
        told = status(observed, plan(observed), Outcome())
        assert next(one for one in told["conditions"] if one["type"] == "Ready")["status"] == "False"

    def test_of_a_cluster_tells_of_its_schedulers_node_and_warns_once(self) -> None:
        of = cluster()
        course = ((False, None, 0), (True, "True", 1), (True, "True", 0), (False, "False", 0))
        for leaves, expected, is_first in course:
            observed = observed_cluster(of, scheduler_leaves=leaves)
            made = CLUSTER.plan(observed, Policy())
            told = CLUSTER.status(observed, made, Outcome())
            found = {one["type"]: one for one in told["conditions"]}.get("SchedulerNodeLeaving")
            assert (found and found["status"]) == expected
            warned = [one.reason for one in CLUSTER.notices(observed, made, Outcome(), told)]
            assert warned.count("SchedulerNodeLeaving") == is_first
            assert made.actions == []
            of = cluster(status=told)


@pytest.mark.parametrize(
    ("replicas", "staying", "leaving", "lasting"),
    [
        (4, 2, 2, 4),  # No successor yet.
        (4, 4, 2, 4),  # Two that are replaced count no more.
        (4, 3, 2, 4),
        (1, 4, 0, 4),  # What shrinks does its part until it goes.
        (4, 1, 2, 3),
    ],
)
def test_an_autoscaler_takes_those_that_move_for_none_that_are_too_many(
    replicas: int, staying: int, leaving: int, lasting: int
) -> None:
    old = workers("old", leaving)
    uids = frozenset(pod.meta.uid for pod in old)
    assert (
        GroupOfWorkers(group(replicas=replicas), (*workers("new", staying), *old), leaving=uids).lasting
        == lasting
    )
