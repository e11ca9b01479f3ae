"""Lists and watches: corners and wordings that the conformance tests leave out."""

from __future__ import annotations

import json

import pytest

from dask_k8s_local.api import ApiServer
from tests.local.api.http import Http, eventually
from tests.local.api.objects import MAPS, config_map


def labelled(name: str, **labels: str) -> dict[str, object]:
    return {**config_map(), "metadata": {"name": name, "labels": labels}}


async def test_every_prefix_of_a_watch_is_the_state_at_its_version(http: Http) -> None:
    async with http.watch(MAPS) as watch:
        states = {}
        for step in range(12):
            name = f"m{step % 4}"
            if step % 3 == 2:
                await http.delete(f"{MAPS}/{name}")
            else:
                await http.apply(f"{MAPS}/{name}", config_map(name, data={"step": str(step)}))
            listed = (await http.get(MAPS)).body
            names = {one["metadata"]["name"]: one.get("data") for one in listed["items"]}
            states[int(listed["metadata"]["resourceVersion"])] = names
        seen: dict[str, object] = {}
        for version, wanted in states.items():
            while seen != wanted:
                type_, body = await watch.next()
                assert int(body["metadata"]["resourceVersion"]) <= version
                if type_ == "DELETED":
                    del seen[body["metadata"]["name"]]
                else:
                    seen[body["metadata"]["name"]] = body.get("data")


async def test_a_version_that_is_forgotten_is_gone(http: Http, server: ApiServer) -> None:
    created = (await http.post(MAPS, config_map())).body["metadata"]["resourceVersion"]
    await http.patch(f"{MAPS}/one", {"data": {"a": "b"}})
    server.faults.forget_history()
    async with http.watch(MAPS, resourceVersion=created) as watch:
        assert watch.status == 200
        type_, status = await watch.next()
        assert type_ == "ERROR"
        assert (status["code"], status["reason"]) == (410, "Expired")
        assert status["message"].startswith(f"too old resource version: {created} (")
        with pytest.raises(EOFError):
            await watch.next()
    current = (await http.get(MAPS)).body["metadata"]["resourceVersion"]
    async with http.watch(MAPS, resourceVersion=current) as watch:
        await http.delete(f"{MAPS}/one")
        assert await watch.take(1) == [("DELETED", "one")]


async def test_a_watch_ends_after_its_time_with_a_bookmark(http: Http) -> None:
    async with http.watch(MAPS, timeoutSeconds=1, allowWatchBookmarks="true") as watch:
        type_, bookmark = await watch.next()
        assert type_ == "BOOKMARK"
        assert bookmark["metadata"]["resourceVersion"].isdigit()
        with pytest.raises(EOFError):
            await watch.next()


async def test_a_page_of_a_forgotten_version_is_gone(http: Http, server: ApiServer) -> None:
    for number in range(3):
        await http.post(MAPS, config_map(f"m{number}"))
    token = (await http.get(MAPS, limit=1)).body["metadata"]["continue"]
    await http.delete(f"{MAPS}/m0")
    server.faults.forget_history()
    answer = await http.get(MAPS, **{"limit": 1, "continue": token})
    assert (answer.status, answer.body["reason"]) == (410, "Expired")
    assert (await http.get(MAPS, **{"continue": "nonsense"})).status == 400


async def test_a_cut_watch_can_go_on_where_it_was(http: Http, server: ApiServer) -> None:
    async with http.watch(MAPS) as watch:
        created = (await http.post(MAPS, config_map("a"))).body["metadata"]["resourceVersion"]
        assert await watch.take(1) == [("ADDED", "a")]
        assert server.faults.cut_watches(lambda request: request.resource == "pods") == 0
        assert server.faults.cut_watches(lambda request: request.user_agent == "tests/1") == 1
        with pytest.raises(EOFError):
            await watch.next()
    await http.post(MAPS, config_map("b"))
    async with http.watch(MAPS, resourceVersion=created) as watch:
        assert await watch.take(1) == [("ADDED", "b")]


async def test_the_watch_of_a_client_that_went_away_is_forgotten(http: Http, server: ApiServer) -> None:
    async with http.watch(MAPS):
        pass

    async def nothing_is_left_to_cut() -> bool:
        return server.faults.cut_watches() == 0

    await eventually(nothing_is_left_to_cut)


async def test_the_client_in_process_sees_the_same(http: Http, server: ApiServer) -> None:
    await http.post(MAPS, config_map("a"))
    events = server.client.watch("configmaps")
    type_, body = await anext(events)
    assert (type_, body["metadata"]["name"]) == ("ADDED", "a")
    body["data"] = {"changed": "by me alone"}
    await http.patch(f"{MAPS}/a", {"data": {"x": "y"}})
    type_, body = await anext(events)
    assert (type_, body["data"]) == ("MODIFIED", {"x": "y"})
    await events.aclose()


async def test_watches_as_tables_and_metadata(http: Http) -> None:
    await http.post(MAPS, config_map("a", data={"x": "y"}))
    headers = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
    async with http.session.get(http.url + MAPS, params={"watch": "1"}, headers=headers) as response:
        event = json.loads(await response.content.readline())
    assert event["object"]["kind"] == "Table"
    assert event["object"]["rows"][0]["cells"][:2] == ["a", 1]
    headers = {"Accept": "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"}
    async with http.session.get(http.url + MAPS, params={"watch": "1"}, headers=headers) as response:
        event = json.loads(await response.content.readline())
    assert event["object"].keys() == {"kind", "apiVersion", "metadata"}
