"""What the controller makes and may not read: Secrets with certificates, NetworkPolicies, budgets."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from dask_k8s_controller.cache.certificate import Certificate, fingerprint
from dask_k8s_local.workloads.selectors import selects
from tests.harness.by_hand import ControllerByHand
from tests.harness.kube import Object
from tests.unit.controller.builders import cluster_body

CLUSTERS = "daskclusters.kubernetes.dask.org"
POLICIES = "networkpolicies.networking.k8s.io"
BUDGETS = "poddisruptionbudgets.policy"


class Cluster:
    """A cluster, and what the API server has for it."""

    def __init__(self, by_hand: ControllerByHand, **spec: Any) -> None:
        self.controller = by_hand
        self.uid = by_hand.create(cluster_body(**spec))["metadata"]["uid"]

    async def reconcile(self) -> None:
        await self.controller.look()
        await self.controller.reconcile("DaskCluster", "c")

    def condition(self, kind: str) -> tuple[str, str]:
        """Return reason and message of a condition."""
        found = self.controller.kube.get(CLUSTERS, "c", self.controller.namespace)
        [told] = [item for item in found["status"]["conditions"] if item["type"] == kind]
        return told["reason"], told["message"]

    def secrets(self) -> dict[str, Object]:
        found = self.controller.kube.list("secrets", self.controller.namespace)
        return {item["metadata"]["name"]: item.get("data", {}) for item in found}

    @property
    def certificate(self) -> Certificate | None:
        return self.controller.cache.notes(self.uid).certificate


def pem(data: Object) -> str:
    return base64.b64decode(data["tls.crt"]).decode()


class TestASecret:
    @pytest.fixture
    def cluster(self, by_hand: ControllerByHand) -> Cluster:
        return Cluster(by_hand, tls={})

    async def test_has_certificate_key_and_authority(self, cluster: Cluster) -> None:
        await cluster.reconcile()
        [(name, data)] = cluster.secrets().items()
        assert data.keys() == {"tls.crt", "tls.key", "ca.crt"}
        assert cluster.certificate is not None
        assert (
            (cluster.certificate.secret, cluster.certificate.pem) == (name, pem(data)) == ("c-tls", pem(data))
        )

    async def test_takes_another_name_if_the_first_is_taken_as_nobody_can_look_whose_it_is(
        self, cluster: Cluster
    ) -> None:
        theirs = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "c-tls"}, "data": {}}
        cluster.controller.kube.create(theirs, cluster.controller.namespace)
        await cluster.reconcile()
        [name] = cluster.secrets().keys() - {"c-tls"}
        assert name == f"c-tls-{fingerprint(pem(cluster.secrets()[name]))[:10]}"
        assert cluster.certificate is not None
        assert cluster.certificate.secret == name

    async def test_is_made_again_when_nobody_knows_what_became_of_it(self, cluster: Cluster) -> None:
        controller = cluster.controller
        controller.kubernetes.faults.break_connection(when=controller.asks("create", "secrets"), times=1)
        await cluster.reconcile()
        assert cluster.secrets().keys() == {"c-tls"}  # Its certificate isn't known to anybody.
        assert cluster.certificate is None
        await cluster.reconcile()
        [name] = cluster.secrets().keys() - {"c-tls"}
        assert cluster.certificate is not None
        assert cluster.certificate.secret == name

    async def test_that_is_refused_is_tried_again_and_no_pod_is_made_without_it(
        self, cluster: Cluster
    ) -> None:
        controller = cluster.controller
        controller.kubernetes.faults.fail(409, when=controller.asks("create", "secrets"), times=1)
        await cluster.reconcile()
        assert cluster.secrets() == {}
        assert controller.kube.list("pods", controller.namespace) == []
        await cluster.reconcile()
        assert cluster.secrets().keys() == {"c-tls"}

    async def test_is_remembered_though_the_status_could_not_be_written(self, cluster: Cluster) -> None:
        controller = cluster.controller
        controller.kubernetes.faults.fail(503, when=controller.asks("patch", "daskclusters"))
        await cluster.reconcile()
        await cluster.reconcile()
        assert cluster.secrets().keys() == {"c-tls"}
        assert cluster.certificate is not None
        controller.cache.forget(cluster.uid)
        assert cluster.certificate is None


class TestANetworkPolicy:
    async def test_and_a_budget_are_remembered_each(self, by_hand: ControllerByHand) -> None:
        cluster = Cluster(by_hand, networkPolicy={}, scheduler={"disruptionBudget": {}})
        await cluster.reconcile()
        for resource in (POLICIES, BUDGETS):
            [found] = by_hand.kube.list(resource, by_hand.namespace)
            assert found["metadata"]["ownerReferences"][0]["uid"] == cluster.uid
            assert by_hand.cache.notes(cluster.uid).applied[found["kind"]]
        asked = [by_hand.asks("patch", resource.partition(".")[0]) for resource in (POLICIES, BUDGETS)]
        begun = len(by_hand.kubernetes.faults.log)
        await cluster.reconcile()
        later = by_hand.kubernetes.faults.log[begun:]
        assert not [request for request in later if any(is_it(request) for is_it in asked)]
        by_hand.cache.forget(cluster.uid)
        assert by_hand.cache.notes(cluster.uid).applied == {}

    async def test_and_a_budget_are_about_no_pod_when_they_are_no_longer_wanted(
        self, by_hand: ControllerByHand
    ) -> None:
        cluster = Cluster(by_hand, networkPolicy={}, scheduler={"disruptionBudget": {}})
        await cluster.reconcile()
        gone = {"spec": {"networkPolicy": None, "scheduler": {"disruptionBudget": None}}}
        by_hand.kube.patch(CLUSTERS, "c", gone, by_hand.namespace)
        await cluster.reconcile()
        [scheduler] = by_hand.kube.list("pods", by_hand.namespace)
        for resource, selector in ((POLICIES, "podSelector"), (BUDGETS, "selector")):
            [found] = by_hand.kube.list(resource, by_hand.namespace)
            assert not selects(found["spec"][selector], scheduler["metadata"]["labels"])

    async def test_takes_nothing_over_that_others_have_written(self, by_hand: ControllerByHand) -> None:
        policy = {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "c-dask"},
            "spec": {"podSelector": {"matchLabels": {"app": "mine"}}},
        }
        by_hand.kube.apply(policy, by_hand.namespace, manager="kubectl")
        cluster = Cluster(by_hand, networkPolicy={})
        await cluster.reconcile()
        reason, message = cluster.condition("Stalled")
        assert "kubectl" in message, reason
        [found] = by_hand.kube.list(POLICIES, by_hand.namespace)
        assert found["spec"]["podSelector"] == policy["spec"]["podSelector"]
        assert by_hand.cache.notes(cluster.uid).applied == {}

    async def test_of_another_owner_stays_the_others(self, by_hand: ControllerByHand) -> None:
        owner = by_hand.kube.create(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other"}}, by_hand.namespace
        )
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "other", "controller": True}
        policy = {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {
                "name": "c-dask",
                "ownerReferences": [{**reference, "uid": owner["metadata"]["uid"]}],
            },
        }
        by_hand.kube.create(policy, by_hand.namespace)
        cluster = Cluster(by_hand, networkPolicy={})
        await cluster.reconcile()
        reason, message = cluster.condition("Stalled")
        assert (reason, "ConfigMap/other" in message) == ("Refused", True)
        assert by_hand.cache.notes(cluster.uid).applied == {}
