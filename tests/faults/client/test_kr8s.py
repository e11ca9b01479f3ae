"""What kr8s does otherwise than its users expect, and what our subclass of its ``Api`` makes of it."""

from __future__ import annotations

import asyncio
import base64
import inspect
import pickle
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import kr8s
import pytest
import trustme
import yaml
from aiohttp import web
from kr8s._api import Api as Kr8sApi
from kr8s._auth import KubeAuth
from kr8s.asyncio.objects import Pod

from dask_k8s_client import raw, sending
from dask_k8s_client import watch as watch_module
from dask_k8s_client.api import Api, SyncApi
from dask_k8s_client.errors import ForbiddenError, NotFoundError, UnreachableError
from dask_k8s_client.watch import Informer
from dask_k8s_credentials import Credentials
from tests.faults.client.server import ScriptedServer, an_object
from tests.harness.stand_in import refusal, watch

Json = dict[str, Any]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "RETRY_DELAYS", (0, 0, 0))
    monkeypatch.setattr(watch_module, "FIRST_DELAY", 0.001)


def a_pod(name: str = "foo", version: int = 1, **status: Any) -> Json:
    return an_object(name, version, kind="Pod", apiVersion="v1", status=status)


def test_all_that_we_override_is_still_there() -> None:
    """Private names of kr8s: when one of these goes, our subclass does nothing any more, without a word."""
    for name, parameters in {
        "call_api": ["method", "version", "base", "namespace", "url", "raise_for_status", "stream"],
        "open_websocket": ["version", "base", "namespace", "url"],
        "async_watch": ["kind", "namespace", "label_selector", "field_selector", "since"],
        "async_lookup_kind": ["kind", "skip_cache"],
        "_create_session": [],
        "_construct_url": ["version", "base", "namespace", "url"],
    }.items():
        theirs = inspect.signature(getattr(Kr8sApi, name)).parameters
        assert set(parameters) <= set(theirs), name
        assert set(theirs) - {"kwargs"} <= set(inspect.signature(getattr(Api, name)).parameters), name
    assert {"reauthenticate", "ssl_context", "proxy"} <= set(dir(KubeAuth))
    assert isinstance(Kr8sApi._instances, dict)
    source = inspect.getsource(Kr8sApi)
    # Each request and each session of kr8s passes what we override.
    assert source.count("self._session.request(") == source.count("self._session.stream(") == 1
    assert source.count("httpx.AsyncClient(") == 1


def with_client_certificate(path: Path, server: str) -> Path:
    authority = trustme.CA()
    mine = authority.issue_cert("me@example.com")

    def encoded(blob: Any) -> str:
        return base64.b64encode(blob.bytes()).decode()

    content = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "blue"}}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [
            {
                "name": "u",
                "user": {
                    "client-certificate-data": encoded(mine.cert_chain_pems[0]),
                    "client-key-data": encoded(mine.private_key_pem),
                },
            }
        ],
    }
    path.write_text(yaml.safe_dump(content))
    return path


async def test_no_key_is_left_in_a_file_and_nothing_is_sent_to_connect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    async with ScriptedServer(refusal(403, "Forbidden")) as server:
        path = with_client_certificate(tmp_path / "config", server.url)
        async with Api(path) as api:
            assert (api.namespace, api.in_cluster, api.requests) == ("blue", False, 0)
            for _ in range(3):
                with pytest.raises(ForbiddenError):
                    await raw.get(api, "/x")
    assert list(temporary.iterdir()) == []
    assert len(server.asked) == 3


async def test_the_pods_own_namespace_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("mine")
    (tmp_path / "namespace").write_text("green")
    monkeypatch.setattr("dask_k8s_credentials.loading.SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    async with Api() as api:
        assert (api.namespace, api.in_cluster, api.auth.token) == ("green", True, "mine")


async def test_a_users_own_kr8s_is_not_ours() -> None:
    async with ScriptedServer({"gitVersion": "v1.34.0"}) as server:
        theirs = await kr8s.asyncio.api(url=server.url, kubeconfig="/nowhere")
        async with Api(loader=lambda: Credentials(server.url)) as ours:
            assert ours not in [one for known in Kr8sApi._instances.values() for one in known.values()]
            assert await kr8s.asyncio.api() is theirs
            assert await kr8s.asyncio.api(url=server.url, kubeconfig="/nowhere") is theirs
        assert theirs._session is not None
        await theirs._session.aclose()


async def test_proxies_of_the_environment_do_not_concern_this_machine(
    monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port}")
    async with ScriptedServer(an_object()) as server:
        assert await raw.get(server.api, "/x") == an_object()


async def test_a_proxy_that_needs_a_library_is_named() -> None:
    credentials = Credentials("http://example.invalid", proxy="socks9://a:1")
    async with Api(loader=lambda: credentials) as api:
        with pytest.raises(RuntimeError, match="socks9"):
            await raw.get(api, "/x")


async def test_a_refused_request_is_sent_once_by_kr8s_own_objects_too() -> None:
    async with ScriptedServer(refusal(403, "Forbidden", "may not")) as server:
        with pytest.raises(ForbiddenError, match="may not") as caught:
            await Pod(a_pod(), api=server.api).refresh()
    assert len(server.asked) == 1
    assert isinstance(caught.value, kr8s.ServerError)


async def test_a_missing_object_is_kr8s_error_and_ours() -> None:
    async with ScriptedServer(refusal(404, "NotFound", "no such pod")) as server:
        with pytest.raises(kr8s.NotFoundError) as caught:
            await Pod(a_pod(), api=server.api).refresh()
        assert not await Pod(a_pod(), api=server.api).exists()
        await Pod(a_pod(), api=server.api).wait("delete", timeout=5)
    assert isinstance(caught.value, NotFoundError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == "no such pod"


async def test_kr8s_objects_are_repeated_as_well() -> None:
    async with ScriptedServer(refusal(503, "Busy"), a_pod("foo", 2)) as server:
        pod = Pod(a_pod(), api=server.api)
        await pod.refresh()
    assert pod.metadata.resourceVersion == "2"


async def test_known_kinds_need_no_discovery() -> None:
    async with ScriptedServer({"items": [a_pod()], "metadata": {}}) as server:
        assert [pod.name async for pod in server.api.get("pods")] == ["foo"]
        assert [pod.name async for pod in Pod.list(api=server.api)] == ["foo"]
    assert [path for _, path, _ in server.asked] == ["/api/v1/namespaces/default/pods"] * 2


async def test_waiting_goes_on_after_a_watch_has_ended_and_across_a_gap() -> None:
    listed = {"metadata": {"resourceVersion": "50"}, "items": [a_pod("foo", 40)]}
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    async with ScriptedServer(
        a_pod(),
        watch(("MODIFIED", a_pod("foo", 2))),
        watch(("BOOKMARK", a_pod("", 9)), ("ERROR", {"code": 410, "kind": "Status"})),
        listed,
        watch(("MODIFIED", a_pod("foo", 60, **ready))),
    ) as server:
        await Pod(a_pod(), api=server.api).wait("condition=Ready", timeout=10)
    watched = [query for query in server.queries if "watch" in query]
    assert [query["resourceVersion"] for query in watched] == ["1", "2", "50"]
    assert {query["allowWatchBookmarks"] for query in watched} == {"true"}
    assert len(server.asked) == 5


async def test_a_watch_that_is_always_too_old_does_not_loop() -> None:
    delays: list[float] = []

    async def note(seconds: float) -> None:
        if seconds:  # a connection that closes lets others run
            delays.append(seconds)
        if len(delays) == 4:
            raise asyncio.CancelledError

    async def answer(request: web.Request) -> web.StreamResponse | Json:
        if "watch" in request.query:
            return await watch(("ERROR", {"code": 410, "kind": "Status"}))(request)
        return {"metadata": {"resourceVersion": "1"}, "items": []}

    async with ScriptedServer(answer) as server:
        informer = Informer(server.api, "/x")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(watch_module.asyncio, "sleep", note)
            with pytest.raises(asyncio.CancelledError):
                await anext(informer.changes())
    assert delays == [0.001, 0.002, 0.004, 0.008]


async def test_a_hundred_open_websockets_hold_nobody_up() -> None:
    async def answer(request: web.Request) -> web.StreamResponse | Json:
        if "upgrade" not in request.headers.get("Connection", "").lower():
            return an_object()
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        return socket

    async with ScriptedServer(answer) as server, AsyncExitStack() as stack:
        for _ in range(120):
            await stack.enter_async_context(server.api.open_websocket(version="", base="/x"))
        assert await asyncio.wait_for(raw.get(server.api, "/x"), 5) == an_object()


async def test_the_tls_server_name_counts_for_requests_and_websockets() -> None:
    authority = trustme.CA()

    async def answer(request: web.Request) -> web.StreamResponse | Json:
        if "upgrade" not in request.headers.get("Connection", "").lower():
            return an_object()
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_bytes(b"hello")
        return socket

    from dask_k8s_credentials import tls as credentials_tls

    trusted = authority.cert_pem.bytes()
    async with ScriptedServer(answer, authority=authority, name="kubernetes.example") as server:
        named = credentials_tls.context(trusted, server_name="kubernetes.example")
        async with Api(loader=lambda: Credentials(server.url, ssl_context=named)) as api:
            assert await raw.get(api, "/x") == an_object()
            async with api.open_websocket(version="", base="/x") as socket:
                assert await socket.receive_bytes() == b"hello"
        plain = credentials_tls.context(trusted)
        async with Api(loader=lambda: Credentials(server.url, ssl_context=plain)) as api:
            with pytest.raises(UnreachableError, match="certificate"):
                await raw.get(api, "/x")


async def test_many_pods_are_read_and_watched_without_a_box_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_box(*_: Any) -> None:
        raise AssertionError("a Box was made")

    pods = [a_pod(f"pod-{number}", number) for number in range(200)]
    async with ScriptedServer(
        {"items": pods, "metadata": {}}, watch(*(("ADDED", pod) for pod in pods))
    ) as server:
        monkeypatch.setattr("kr8s._objects.Box", no_box)
        assert len((await raw.get(server.api, "/x"))["items"]) == 200
        informer = Informer(server.api, "/namespaces/x")
        changes = informer.changes()
        for _ in pods:
            await anext(changes)
        await changes.aclose()
    assert len(informer.objects) == 200


async def test_a_log_that_is_followed_ends_when_its_time_is_over() -> None:
    async def one_line(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"hello\n")
        await asyncio.Event().wait()
        return response

    async with ScriptedServer(one_line) as server:
        pod = Pod(a_pod(), api=server.api)
        assert [line async for line in pod.logs(follow=True, timeout=0.2)] == ["hello"]


async def test_no_raw_error_of_httpx_comes_out(free_port: int) -> None:
    async with Api(loader=lambda: Credentials(f"http://127.0.0.1:{free_port}")) as api:
        for attempt in (Pod(a_pod(), api=api).refresh(), api.version(), Pod(a_pod(), api=api).exists()):
            with pytest.raises(UnreachableError) as caught:
                await attempt
            assert not isinstance(caught.value, httpx.HTTPError)


async def test_nothing_that_a_server_sets_is_sent_back() -> None:
    sent: list[str | None] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        sent.append(request.headers.get("Cookie"))
        response = web.json_response(an_object())
        response.set_cookie("a", "b")
        return response

    async with ScriptedServer(answer) as server:
        for _ in range(2):
            await raw.get(server.api, "/x")
    assert sent == [None, None]


def test_the_synchronous_twin_passes_the_same_seam() -> None:
    """kr8s runs what its synchronous objects do in a thread of its own."""

    async def serve(started: Any, ended: asyncio.Event) -> None:
        async with ScriptedServer({"items": [a_pod()], "metadata": {}}) as server:
            started(server)
            await ended.wait()

    import threading

    loop = asyncio.new_event_loop()
    ended = asyncio.Event()
    ready = threading.Event()
    servers: list[ScriptedServer] = []

    def started(server: ScriptedServer) -> None:
        servers.append(server)
        ready.set()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve(started, ended)))
    thread.start()
    assert ready.wait(10)
    api = SyncApi(loader=lambda: Credentials(servers[0].url))
    try:
        assert [pod.name for pod in api.get("pods")] == ["foo"]
        assert api.requests == 1
    finally:
        api.close()
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
        loop.close()
