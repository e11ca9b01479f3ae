"""The stores keep the newest of what watches and our own writes show."""

from __future__ import annotations

from typing import Any

import pytest

from dask_k8s_controller.cache.objects import By, Pod
from dask_k8s_controller.cache.store import Store
from dask_k8s_controller.cluster.children import scheduler_service
from dask_k8s_controller.cluster.spec import Cluster
from tests.unit.controller.builders import cluster_body


def pod(uid: str, version: int, name: str = "", phase: str = "Pending") -> dict[str, Any]:
    metadata = {"name": name or uid, "namespace": "default", "uid": uid, "resourceVersion": str(version)}
    return {"metadata": metadata, "status": {"phase": phase}}


def parse(body: dict[str, Any], _: Pod | None) -> Pod:
    return Pod.of(body)


def named(store: Store[Pod], name: str) -> tuple[Pod, ...]:
    return store.find(By("name", "default", name))


@pytest.fixture
def store() -> Store[Pod]:
    return Store(parse)


def test_what_was_seen_is_found_by_its_key(store: Store[Pod]) -> None:
    store.see(pod("a", 1))
    assert [facts.meta.uid for facts in named(store, "a")] == ["a"]
    assert named(store, "b") == ()


def test_our_own_write_is_known_before_the_watch_shows_it(store: Store[Pod]) -> None:
    store.see(pod("a", 5, phase="Running"))
    store.see(pod("a", 4, phase="Pending"))
    assert [facts.phase for facts in named(store, "a")] == ["Running"]


def test_a_newer_version_replaces_the_older(store: Store[Pod]) -> None:
    store.see(pod("a", 9))
    store.see(pod("a", 10, phase="Running"))
    assert [facts.phase for facts in named(store, "a")] == ["Running"]
    assert len(store) == 1


def test_an_object_under_another_key_leaves_the_old_one(store: Store[Pod]) -> None:
    store.see(pod("a", 1, "old"))
    store.see(pod("a", 2, "new"))
    assert named(store, "old") == ()
    assert len(named(store, "new")) == 1


def test_two_objects_of_one_name_are_told_apart(store: Store[Pod]) -> None:
    store.see(pod("a", 1, "same"))
    store.see(pod("b", 2, "same"))
    assert {facts.meta.uid for facts in named(store, "same")} == {"a", "b"}


def test_what_is_gone_never_comes_back_however_late_the_watch_is(store: Store[Pod]) -> None:
    store.see(pod("a", 1))
    store.forget("a")
    store.see(pod("a", 2))
    assert named(store, "a") == ()


def test_what_only_lost_a_label_comes_back_when_it_has_it_again(store: Store[Pod]) -> None:
    """A watch of a selection calls it deleted; a late event has an older version."""
    store.see(pod("a", 1))
    store.forget("a", "5")
    store.see(pod("a", 4))
    store.see(pod("a", 5))
    assert named(store, "a") == ()
    store.see(pod("a", 6))
    assert [facts.meta.version for facts in named(store, "a")] == ["6"]


def test_what_the_api_server_itself_shows_is_there_whatever_a_watch_said(store: Store[Pod]) -> None:
    store.see(pod("a", 1))
    store.forget("a", "5")
    store.confirm(pod("a", 4))
    assert named(store, "a") == ()
    store.confirm(pod("a", 5))
    assert [facts.meta.version for facts in named(store, "a")] == ["5"]


def test_what_was_read_before_it_was_deleted_does_not_come_back(store: Store[Pod]) -> None:
    store.see(pod("a", 1))
    store.forget("a")
    store.confirm(pod("a", 9))
    assert named(store, "a") == ()


def test_a_list_shows_by_its_gaps_what_is_gone(store: Store[Pod]) -> None:
    for uid in "ab":
        store.see(pod(uid, 1))
    elsewhere = pod("c", 1)
    elsewhere["metadata"]["namespace"] = "elsewhere"
    store.see(elsewhere)
    store.replace_all(["a"], "7", store.mark(), "default")
    assert {facts.name for facts in store} == {"a", "c"}


def test_what_was_written_after_a_list_is_not_missing_from_it(store: Store[Pod]) -> None:
    mark = store.mark()
    store.see(pod("a", 8))
    store.replace_all([], "7", mark, None)
    assert len(store) == 1


def test_what_was_written_before_a_list_that_lacks_it_is_gone(store: Store[Pod]) -> None:
    mark = store.mark()
    store.see(pod("a", 6))
    store.replace_all([], "7", mark, None)
    assert len(store) == 0


def test_late_news_of_what_a_list_lacks_is_ignored(store: Store[Pod]) -> None:
    store.see(pod("a", 4))
    store.replace_all([], "7", store.mark(), None)
    store.see(pod("a", 6))
    assert len(store) == 0


def test_what_lost_the_labels_by_which_it_is_watched_may_come_back(store: Store[Pod]) -> None:
    store.see(pod("a", 1))
    store.forget("a", "5")
    store.see(pod("a", 4))
    assert len(store) == 0
    store.see(pod("a", 6))
    assert len(store) == 1


class TestAChange:
    def test_is_told_with_what_was_before(self, store: Store[Pod]) -> None:
        change = store.see(pod("a", 1))
        assert change is not None
        assert (change.now.phase, change.before) == ("Pending", None)
        change = store.see(pod("a", 2, phase="Running"))
        assert change is not None
        assert change.before is not None
        assert (change.now.phase, change.before.phase) == ("Running", "Pending")

    def test_is_none_if_nothing_that_is_read_differs(self, store: Store[Pod]) -> None:
        store.see(pod("a", 1))
        body = pod("a", 2)
        body["spec"] = {"nodeName": "n"}
        body["status"]["conditions"] = [{"type": "PodScheduled", "status": "True"}]
        assert store.see(body) is None

    def test_is_none_though_the_newer_version_counts(self, store: Store[Pod]) -> None:
        store.see(pod("a", 1))
        assert store.see(pod("a", 5)) is None
        assert store.has("a", "5")
        assert not store.has("a", "1")
        [known] = named(store, "a")
        assert known.meta.version == "5"

    def test_is_none_for_what_is_older(self, store: Store[Pod]) -> None:
        store.see(pod("a", 5))
        assert store.see(pod("a", 4, phase="Running")) is None


class TestAfterARestoredBackup:
    """Versions have gone back: a new list is the truth."""

    def relist(self, store: Store[Pod], *bodies: dict[str, Any], version: str = "500") -> None:
        mark = store.mark()
        for body in bodies:
            store.see(body, mark)
        uids = [body["metadata"]["uid"] for body in bodies]
        store.replace_all(uids, version, mark, None)

    def test_what_the_list_has_is_as_it_says(self, store: Store[Pod]) -> None:
        store.see(pod("a", 900, phase="Running"))
        self.relist(store, pod("a", 400, phase="Pending"))
        assert [facts.phase for facts in named(store, "a")] == ["Pending"]
        store.see(pod("a", 501, phase="Failed"))
        assert [facts.phase for facts in named(store, "a")] == ["Failed"]

    def test_what_it_lacks_is_gone_however_new(self, store: Store[Pod]) -> None:
        store.see(pod("a", 900))
        self.relist(store)
        assert len(store) == 0

    def test_what_had_been_deleted_is_there_again(self, store: Store[Pod]) -> None:
        store.see(pod("a", 400))
        store.forget("a", "900")
        self.relist(store, pod("a", 400))
        assert len(store) == 1

    def test_what_was_written_since_is_kept(self, store: Store[Pod]) -> None:
        store.see(pod("a", 900))
        mark = store.mark()
        store.see(pod("b", 501))
        store.see(pod("a", 400), mark)
        store.replace_all(["a"], "500", mark, None)
        assert {facts.name for facts in store} == {"a", "b"}


def test_whoever_wants_to_know_is_told_once_what_is_gone() -> None:
    gone: list[str] = []
    store = Store(parse, lambda facts: gone.append(facts.name))
    for uid in "ab":
        store.see(pod(uid, 1))
    store.forget("a")
    store.forget("a", "9")
    store.replace_all([], "7", store.mark(), None)
    assert gone == ["a", "b"]


def test_long_annotations_of_a_group_are_kept_once_however_many_pods_have_them(store: Store[Pod]) -> None:
    def annotated(uid: str) -> Pod:
        body = pod(uid, 1)
        body["metadata"]["annotations"] = {"note": "".join(["x"] * 10_000)}
        change = store.see(body)
        assert change is not None
        return change.now

    assert annotated("a").meta.annotations["note"] is annotated("b").meta.annotations["note"]


@pytest.mark.parametrize(
    ("change", "is_made_anew"),
    [
        ({}, False),
        ({"generation": 2}, True),
        ({"labels": {"team": "blue"}}, True),
        ({"annotations": {"team": "blue"}}, True),
        ({"ownerReferences": []}, False),
    ],
)
def test_what_is_made_of_an_object_is_made_once_while_only_its_status_differs(
    change: dict[str, Any], is_made_anew: bool
) -> None:
    before = Cluster.of(cluster_body(metadata={"generation": 1}))
    made = before.once(scheduler_service)
    later = Cluster.of(cluster_body(metadata={"generation": 1} | change, status={"phase": "Error"}), before)
    assert (later.once(scheduler_service) is not made) == is_made_anew
    assert later.once(scheduler_service) == scheduler_service(later)
    assert before.once(scheduler_service) is made
