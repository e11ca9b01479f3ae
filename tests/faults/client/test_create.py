"""Creating a cluster, or finding the one that exists."""

from __future__ import annotations

from typing import Any

import pytest

from dask_k8s_client.config import ClusterOptions
from dask_k8s_client.create import check, create_or_connect, manifest, until_deleted
from dask_k8s_client.errors import (
    ClusterExistsError,
    ClusterNotFoundError,
    ForbiddenError,
    MissingCRDsError,
    ResourceTimeoutError,
    ValidationError,
)
from dask_k8s_models import make_cluster_spec
from tests.faults.client.server import ScriptedServer, an_object
from tests.harness.stand_in import refusal, watch

Json = dict[str, Any]

TAKEN = refusal(409, "AlreadyExists")
ABSENT = refusal(404, "NotFound", name="foo", kind="daskclusters")


def options(**given: Any) -> ClusterOptions:
    return ClusterOptions.from_config(**{"name": "foo", "resource_timeout": 0.2, **given})


def test_the_manifest_is_what_the_builder_makes() -> None:
    made = manifest(options(n_workers=2, env={"A": "1"}, image="mine", jupyter=True))
    assert made == make_cluster_spec("foo", image="mine", n_workers=2, env={"A": "1"}, jupyter=True)


def test_a_typo_is_refused_before_anything_is_sent() -> None:
    body = make_cluster_spec("foo")
    body["spec"]["worker"]["spec"]["containers"][0]["resorces"] = {}
    with pytest.raises(ValidationError, match=r"spec\.worker\.spec\.containers\[0\]\.resorces"):
        check(body)


async def test_what_does_not_exist_is_created() -> None:
    async with ScriptedServer(an_object()) as server:
        assert await create_or_connect(server.api, "default", options()) == (an_object(), True)
    assert server.asked[0][0] == "POST"


async def test_what_exists_is_joined() -> None:
    async with ScriptedServer(TAKEN, an_object()) as server:
        assert await create_or_connect(server.api, "default", options()) == (an_object(), False)


async def test_create_only_refuses_what_exists() -> None:
    async with ScriptedServer(TAKEN, an_object()) as server:
        with pytest.raises(
            ClusterExistsError, match=r"foo already exists and create mode is '.*CREATE_ONLY'"
        ):
            await create_or_connect(server.api, "default", options(create_mode="CREATE_ONLY"))


async def test_connect_only_creates_nothing() -> None:
    async with ScriptedServer(ABSENT) as server:
        with pytest.raises(ClusterNotFoundError, match="doesn't already exist"):
            await create_or_connect(server.api, "default", options(create_mode="CONNECT_ONLY"))
    assert [method for method, _, _ in server.asked] == ["GET"]


async def test_a_name_that_is_being_deleted_is_waited_for() -> None:
    dying = an_object()
    dying["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    new = an_object("foo", 9)
    async with ScriptedServer(TAKEN, dying, watch(("DELETED", dying)), new) as server:
        assert await create_or_connect(server.api, "default", options(resource_timeout=5)) == (new, True)


async def test_a_name_that_never_gets_free_is_told_with_what_holds_it() -> None:
    dying = an_object()
    dying["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["example.com/mine"]}
    async with ScriptedServer(TAKEN, dying, watch()) as server:
        with pytest.raises(ResourceTimeoutError, match=r"example\.com/mine"):
            await create_or_connect(server.api, "default", options())


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (
            refusal(404, "NotFound", "the server could not find the requested resource"),
            MissingCRDsError,
            "crds",
        ),
        (refusal(404, "NotFound", kind="namespaces", name="default"), ValidationError, "create namespace"),
        (refusal(403, "Forbidden", "may not"), ForbiddenError, "kubernetes.dask.org"),
        (refusal(422, "Invalid", "spec.worker.replicas: wrong"), ValidationError, "spec.worker.replicas"),
    ],
)
async def test_refusals_say_what_to_do(answer: Any, error: type[Exception], text: str) -> None:
    async with ScriptedServer(answer) as server:
        with pytest.raises(error, match=text):
            await create_or_connect(server.api, "default", options())


async def test_deletion_is_over_when_another_cluster_has_the_name() -> None:
    successor = an_object("foo", 9)
    successor["metadata"]["uid"] = "another"
    async with ScriptedServer(watch(("MODIFIED", successor))) as server:
        await until_deleted(server.api, "default", an_object(), 5)
