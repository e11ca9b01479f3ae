"""What lists and watches show is in the cache, and causes reconciles only if it changes what is read."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dask_k8s_controller.kubernetes.resources import CLUSTERS, PODS, WATCHED, Key
from dask_k8s_controller.operator import Operator
from dask_k8s_controller.settings import Settings
from dask_k8s_controller.watching.informer import read_event
from dask_k8s_controller.watching.watches import Listing
from tests.unit.controller.builders import cluster_body, group_body, pod_body

CLUSTER = Key("DaskCluster", "default", "c")
GROUP = Key("DaskWorkerGroup", "default", "c-default")


class Observer(Operator):
    """A controller that watches, and whose queue only tells what it was given."""

    def __init__(self) -> None:
        super().__init__(Settings())
        self.keys: list[Key] = []
        self.queue.add = self.keys.append  # type: ignore[method-assign]

    def happens(self, kind: str, body: dict[str, Any]) -> list[Key]:
        """Hear of an event; return what is to be reconciled because of it."""
        self.keys.clear()
        line = msgspec.json.encode({"type": kind, "object": body})
        resource = next(one for one in WATCHED if one.kind == body["kind"])
        self.informer.happened(Listing(resource, None, ""), read_event(line), line)
        return sorted(self.keys)


@pytest.fixture
def observer() -> Observer:
    return Observer()


def later(body: dict[str, Any], version: int, **status: Any) -> dict[str, Any]:
    metadata = {**body["metadata"], "resourceVersion": str(version)}
    return {**body, "metadata": metadata, "status": {**body.get("status", {}), **status}}


def worker(version: int, **status: Any) -> dict[str, Any]:
    return later({"kind": "Pod", **pod_body("w"), "status": {"phase": "Pending"}}, version, **status)


class TestAnEvent:
    def test_of_a_worker_concerns_its_group(self, observer: Observer) -> None:
        observer.happens("ADDED", group_body())
        assert observer.happens("ADDED", worker(5)) == [GROUP]
        assert observer.happens("MODIFIED", worker(6, phase="Running")) == [GROUP]
        assert observer.happens("DELETED", worker(7)) == [GROUP]
        assert len(observer.cache.store("Pod")) == 0

    def test_that_changes_nothing_that_is_read_concerns_nobody(self, observer: Observer) -> None:
        observer.happens("ADDED", worker(5))
        scheduled = [{"type": "PodScheduled", "status": "True"}]
        assert observer.happens("MODIFIED", worker(6, conditions=scheduled, hostIP="10.0.0.1")) == []
        assert observer.cache.store("Pod").has("w", "6"), "its version counts all the same"

    def test_that_repeats_our_own_write_is_not_even_read(self, observer: Observer) -> None:
        observer.cache.see(worker(5))
        unreadable = {"kind": "Pod", "metadata": {"uid": "w", "resourceVersion": "5"}, "status": 7}
        assert observer.happens("MODIFIED", unreadable) == []

    def test_of_what_can_not_be_read_holds_up_no_other(
        self, observer: Observer, caplog: pytest.LogCaptureFixture
    ) -> None:
        odd = {"kind": "Pod", "metadata": {"uid": "x", "resourceVersion": "5"}, "status": 7}
        assert observer.happens("ADDED", odd) == []
        assert "can't be read" in caplog.text
        assert observer.happens("ADDED", worker(6)) == [GROUP]


class TestAStatus:
    def test_of_a_cluster_concerns_its_groups_only_if_its_certificate_changes(
        self, observer: Observer
    ) -> None:
        observer.happens("ADDED", group_body())
        observer.happens("ADDED", later(cluster_body(), 5))
        assert observer.happens("MODIFIED", later(cluster_body(), 6, phase="Pending")) == [CLUSTER]
        told = later(cluster_body(), 7, phase="Pending", tls={"secretName": "s"})
        assert observer.happens("MODIFIED", told) == [CLUSTER, GROUP]

    def test_of_a_group_concerns_its_cluster(self, observer: Observer) -> None:
        observer.happens("ADDED", later(group_body(), 5))
        assert CLUSTER in observer.happens("MODIFIED", later(group_body(), 6, readyReplicas=1))

    def test_that_its_own_reconcile_wrote_calls_for_no_other(self, observer: Observer) -> None:
        observer.happens("ADDED", later(cluster_body(), 5))
        observer.keys.clear()
        observer.cache.see(later(cluster_body(), 6, phase="Pending"), by=CLUSTER)
        assert observer.keys == []

    def test_that_came_back_with_a_change_unheard_of_calls_for_another(self, observer: Observer) -> None:
        observer.happens("ADDED", later(cluster_body(), 5))
        observer.keys.clear()
        changed = later(cluster_body(worker={"replicas": 7}), 7, phase="Pending")
        changed["metadata"]["generation"] = 2
        observer.cache.see(changed, by=CLUSTER)
        assert CLUSTER in observer.keys


class TestAList:
    async def lists(self, observer: Observer, *listings: Listing, items: Any = ()) -> None:
        for listing in listings:
            mark = observer.informer.list_begins(listing)
            of_kind = [item for item in items if item["kind"] == listing.resource.kind]
            await observer.informer.listed(listing, of_kind, mark)
            uids = {item["metadata"]["uid"] for item in of_kind}
            observer.informer.list_ends(listing, uids, "9", mark)

    async def test_that_is_the_last_of_all_has_everything_reconciled(self, observer: Observer) -> None:
        listings = [Listing(resource, None, "") for resource in WATCHED]
        observer.watches.expect(WATCHED)
        await self.lists(observer, *listings[:-1], items=[cluster_body(), group_body()])
        observer.keys.clear()
        await self.lists(observer, listings[-1])
        assert set(observer.keys) == {CLUSTER, GROUP}

    async def test_of_nodes_that_is_refused_is_not_waited_for(self, observer: Observer) -> None:
        *listings, nodes = (Listing(resource, None, "") for resource in WATCHED)
        observer.watches.expect(WATCHED)
        await self.lists(observer, *listings, items=[cluster_body()])
        observer.keys.clear()
        observer.informer.list_begins(nodes)
        observer.watches.refused(nodes)
        observer.informer.forget(nodes)
        assert observer.keys == [CLUSTER]

    async def test_tells_what_has_gone(self, observer: Observer) -> None:
        await self.lists(observer, Listing(PODS, None, ""), items=[worker(5)])
        await self.lists(observer, Listing(PODS, None, ""))
        assert len(observer.cache.store("Pod")) == 0

    async def test_of_one_namespace_says_nothing_of_another(self, observer: Observer) -> None:
        await self.lists(observer, Listing(CLUSTERS, None, ""), items=[cluster_body()])
        await self.lists(observer, Listing(CLUSTERS, "elsewhere", ""))
        assert len(observer.cache.store("DaskCluster")) == 1
