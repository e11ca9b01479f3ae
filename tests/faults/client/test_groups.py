"""Worker groups and autoscalers."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from dask_k8s_client.errors import (
    ForbiddenError,
    ResourceTimeoutError,
    ValidationError,
    WorkerGroupNotFoundError,
)
from dask_k8s_client.groups import Groups, defaults, runs_jupyter
from dask_k8s_models import make_cluster_spec, make_worker_spec
from tests.faults.client.server import ScriptedServer, an_object
from tests.harness.stand_in import refusal, watch

Json = dict[str, Any]

NONE: Json = {"items": []}
CLUSTER = an_object("foo")
DEFAULT = an_object("foo-default", spec={"cluster": "foo"})
GPU = an_object("foo-gpu", spec={"cluster": "foo"})
ANOTHERS = an_object("foo-bar-gpu", spec={"cluster": "foo-bar"})
"""As `foo` would call its group ``bar-gpu``."""


def autoscaler(name: str, **spec: Any) -> Json:
    return an_object(name, spec={"cluster": "foo", **spec})


def groups(server: ScriptedServer) -> Groups:
    return Groups(server.api, "default", "foo", CLUSTER)


async def test_a_group_belongs_to_its_cluster() -> None:
    async with ScriptedServer(an_object()) as server:
        assert await groups(server).add("gpu", make_worker_spec()) == "gpu"
    _, path, body = server.asked[0]
    assert path.endswith("/daskworkergroups")
    assert body is not None
    assert body["metadata"]["name"] == "foo-gpu"
    assert body["metadata"]["ownerReferences"][0]["uid"] == "uid-of-foo"
    assert body["spec"] == {"cluster": "foo", "worker": make_worker_spec()}


async def test_a_group_without_a_name_gets_one() -> None:
    async with ScriptedServer(an_object()) as server:
        name = await groups(server).add(None, make_worker_spec())
    assert server.asked[0][2] is not None
    assert server.asked[0][2]["metadata"]["name"] == f"foo-{name}"


@pytest.mark.parametrize("name", ["GPU", "g_pu", "x" * 60])
async def test_a_bad_name_of_a_group_is_refused(name: str) -> None:
    async with ScriptedServer(an_object()) as server:
        with pytest.raises(ValidationError):
            await groups(server).add(name, make_worker_spec())
    assert server.asked == []


async def test_a_taken_name_of_a_group_is_refused() -> None:
    async with ScriptedServer(refusal(409, "AlreadyExists"), GPU) as server:
        with pytest.raises(ValidationError, match="already has a worker group 'gpu'"):
            await groups(server).add("gpu", make_worker_spec())


async def test_scaling_ends_only_the_autoscaling_of_that_group() -> None:
    found = {
        "items": [
            autoscaler("foo"),
            autoscaler("by-hand", workerGroup="foo-gpu"),
            an_object("other", spec={"cluster": "other"}),
        ]
    }
    async with ScriptedServer(DEFAULT, found, {}, {}, {}) as server:
        await groups(server).scale(5, "default")
    changes = [(method, path.rpartition("/daskautoscalers/")[2]) for method, path, _ in server.asked[2:3]]
    assert changes == [("DELETE", "foo")]
    method, path, body = server.asked[4]
    assert (method, body) == ("PATCH", {"spec": {"replicas": 5}})
    assert path.endswith("/daskworkergroups/foo-default/scale")


async def test_who_may_do_no_more_than_scale_ends_autoscaling_as_well() -> None:
    found = {"items": [autoscaler("foo")]}
    async with ScriptedServer(DEFAULT, found, {}, refusal(403, "Forbidden", "may not patch"), {}) as server:
        await groups(server).scale(5, "default")
    assert server.asked[4][2] == {"spec": {"replicas": 5}}


@pytest.mark.parametrize("n", [-1, 1.5, True, "3", None, float("inf"), float("nan")])
async def test_only_whole_numbers_can_be_scaled_to(n: Any) -> None:
    async with ScriptedServer(NONE) as server:
        with pytest.raises(ValueError, match="Cannot scale"):
            await groups(server).scale(n, "default")
    assert server.asked == []


async def test_an_unknown_group_is_told_with_those_that_exist() -> None:
    known = {
        "items": [an_object("foo-default", spec={"cluster": "foo"}), an_object("a", spec={"cluster": "b"})]
    }
    async with ScriptedServer(refusal(404, "NotFound"), known) as server:
        with pytest.raises(WorkerGroupNotFoundError, match="'gpu'; it has default"):
            await groups(server).scale(1, "gpu")


async def test_a_cluster_without_groups_most_likely_does_not_exist() -> None:
    async with ScriptedServer(refusal(404, "NotFound"), NONE) as server:
        with pytest.raises(
            WorkerGroupNotFoundError, match="There is no cluster foo in the namespace default"
        ):
            await groups(server).scale(1, "default")


async def test_an_unknown_group_is_not_adapted() -> None:
    known = {"items": [an_object("foo-default", spec={"cluster": "foo"})]}
    async with ScriptedServer(NONE, refusal(404, "NotFound"), known) as server:
        with pytest.raises(WorkerGroupNotFoundError, match="'gpu'; it has default"):
            await groups(server).adapt(1, 2, "gpu")
    assert {method for method, _, _ in server.asked} == {"GET"}


async def test_what_is_forbidden_names_the_rule() -> None:
    async with ScriptedServer(DEFAULT, NONE, refusal(403, "Forbidden", "may not patch")) as server:
        with pytest.raises(ForbiddenError, match="daskworkergroups/scale"):
            await groups(server).scale(1, "default")


def a_group(version: int, generation: int = 2, observed: int = 2, replicas: int | None = None) -> Json:
    found = an_object("foo-gpu", version, spec={"cluster": "foo"})
    found["metadata"]["generation"] = generation
    conditions = [{"type": "Stalled", "status": "True", "reason": "Held", "message": "nobody takes over"}]
    status = {"observedGeneration": observed, "replicas": replicas, "conditions": conditions}
    return {**found, "status": status}


async def test_a_group_is_emptied_before_it_is_deleted() -> None:
    seen = watch(
        ("MODIFIED", a_group(2, observed=1, replicas=0)),  # what is said about an earlier spec doesn't count
        ("MODIFIED", a_group(3, replicas=1)),
        ("MODIFIED", a_group(4, replicas=0)),
    )
    async with ScriptedServer(GPU, NONE, {}, a_group(1, observed=1, replicas=2), seen, {}) as server:
        await groups(server).delete("gpu", 5)
    assert [method for method, _, _ in server.asked] == ["GET", "GET", "PATCH", "GET", "GET", "DELETE"]
    assert server.asked[2][2] == {"spec": {"replicas": 0}}
    assert server.bodies[5]["preconditions"] == {"uid": "uid-of-foo-gpu"}


async def test_a_group_whose_workers_do_not_go_stays_and_says_why() -> None:
    stuck = a_group(1, replicas=1)
    async with ScriptedServer(GPU, NONE, {}, stuck, watch(("MODIFIED", a_group(2, replicas=1)))) as server:
        with pytest.raises(ResourceTimeoutError, match=r"still has 1 workers.*Held: nobody takes over"):
            await groups(server).delete("gpu", 0.3)
    assert "DELETE" not in {method for method, _, _ in server.asked}


async def test_a_group_that_somebody_else_deletes_meanwhile_is_gone() -> None:
    seen = watch(("DELETED", a_group(2, replicas=1)))
    async with ScriptedServer(
        GPU, NONE, {}, a_group(1, replicas=1), seen, refusal(404, "NotFound")
    ) as server:
        await groups(server).delete("gpu", 5)


async def test_adapting_creates_an_autoscaler() -> None:
    async with ScriptedServer(NONE, DEFAULT, {}) as server:
        await groups(server).adapt(1, None, "default")
    body = server.asked[2][2]
    assert body is not None
    assert body["metadata"]["name"] == "foo"
    assert body["spec"] == {"cluster": "foo", "minimum": 1}


async def test_adapting_again_changes_the_bounds_and_removes_the_absent_one() -> None:
    async with ScriptedServer({"items": [autoscaler("by-hand")]}, {}) as server:
        await groups(server).adapt(0, None, "default")
    method, path, body = server.asked[1]
    assert (method, body) == ("PATCH", {"spec": {"minimum": 0, "maximum": None}})
    assert path.endswith("/daskautoscalers/by-hand")


async def test_two_that_adapt_at_once_both_succeed() -> None:
    other = {"items": [autoscaler("foo")]}
    async with ScriptedServer(NONE, DEFAULT, refusal(409, "AlreadyExists"), other, {}) as server:
        await groups(server).adapt(2, 4, "default")
    assert server.asked[4][0] == "PATCH"


@pytest.mark.parametrize(
    "act",
    [
        lambda groups: groups.scale(1, "bar-gpu"),
        lambda groups: groups.delete("bar-gpu", 5),
        lambda groups: groups.adapt(1, 2, "bar-gpu"),
    ],
)
async def test_another_clusters_group_of_the_name_is_left_alone(act: Any) -> None:
    async def answer(request: web.Request) -> Any:
        if request.path.endswith("/daskautoscalers"):
            return NONE
        return ANOTHERS if request.path.endswith("/foo-bar-gpu") else {"items": [DEFAULT, ANOTHERS]}

    async with ScriptedServer(answer) as server:
        with pytest.raises(
            WorkerGroupNotFoundError, match="foo has no worker group 'bar-gpu'; it has default"
        ):
            await act(groups(server))
    assert {method for method, _, _ in server.asked} == {"GET"}


async def test_a_name_that_another_clusters_group_has_is_refused() -> None:
    async with ScriptedServer(refusal(409, "AlreadyExists"), ANOTHERS) as server:
        with pytest.raises(ValidationError, match="cluster foo-bar already has a worker group 'foo-bar-gpu'"):
            await groups(server).add("bar-gpu", make_worker_spec())


async def test_another_clusters_autoscaler_of_the_name_is_left_alone() -> None:
    others = {"items": [an_object("foo-gpu", spec={"cluster": "foo-gpu"})]}
    async with ScriptedServer(others, GPU, refusal(409, "AlreadyExists", "it exists"), others) as server:
        with pytest.raises(ValidationError, match="it exists; it belongs to another cluster"):
            await groups(server).adapt(1, 2, "gpu")
    assert "PATCH" not in {method for method, _, _ in server.asked}


@pytest.mark.parametrize(("minimum", "maximum"), [(-1, None), (5, 2), ("a", None), (0, 1.5)])
async def test_impossible_bounds_are_refused(minimum: int, maximum: int | None) -> None:
    async with ScriptedServer(NONE) as server:
        with pytest.raises(ValueError, match="minimum <= maximum"):
            await groups(server).adapt(minimum, maximum, "default")
    assert server.asked == []


def test_a_further_group_takes_after_its_cluster() -> None:
    limits = {"limits": {"memory": "2Gi"}}
    spec = make_cluster_spec(
        "foo", image="mine", resources=limits, env={"A": "1"}, worker_command="dask cuda worker"
    )
    assert defaults(spec) == {
        "image": "mine",
        "resources": limits,
        "env": [{"name": "A", "value": "1"}],
        "worker_command": ["dask", "cuda", "worker"],
    }


def test_jupyter_is_recognised_from_the_arguments() -> None:
    assert runs_jupyter(make_cluster_spec("foo", jupyter=True))
    assert not runs_jupyter(make_cluster_spec("foo"))
