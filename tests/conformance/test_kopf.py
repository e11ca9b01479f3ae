"""A small operator written with kopf: handlers, finalizers, timers, daemons, indices, events.

https://docs.kopf.dev/
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import kopf
import pytest

from tests.conformance.gadgets import GADGETS, GROUP, gadget
from tests.conformance.manifests import config_map
from tests.conformance.waiting import eventually
from tests.harness.kube import Kube, Object

LAST_HANDLED = "kopf.zalando.org/last-handled-configuration"
RESOURCE = {"group": GROUP, "version": "v1", "plural": "gadgets"}


class Operator:
    """kopf in a thread of its own, for one namespace; `registry` takes the handlers."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.registry = kopf.OperatorRegistry()
        kopf.on.login(registry=self.registry)(kopf.login_with_kubeconfig)
        self.settings = kopf.OperatorSettings()
        self.settings.posting.level = 20
        self.settings.posting.loggers = True
        self.settings.peering.standalone = True

    @contextmanager
    def running(self) -> Iterator[None]:
        ready, stop = threading.Event(), threading.Event()
        failures: list[BaseException] = []

        async def operate() -> None:
            await kopf.operator(
                registry=self.registry,
                settings=self.settings,
                namespaces=[self.namespace],
                ready_flag=ready,
                stop_flag=stop,
            )
            await connections_are_closed()

        def run() -> None:
            try:
                asyncio.run(operate())
            except BaseException as failure:
                failures.append(failure)
                ready.set()

        thread = threading.Thread(target=run, name="kopf")
        thread.start()
        try:
            assert ready.wait(120)
            yield
        finally:
            stop.set()
            thread.join(120)
        assert not failures
        assert not thread.is_alive()


async def connections_are_closed() -> None:
    """aiohttp ends TLS in the background: https://docs.aiohttp.org/en/stable/client_advanced.html#graceful-shutdown"""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(5):
        # What remains is the loop's own wake-up socket.
        while len(loop._selector.get_map()) > 1:  # type: ignore[attr-defined]  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.fixture
def operator(kubeconfig: object, gadgets: str, namespace: str) -> Operator:
    return Operator(namespace)


def handlers_are_done(found: Object) -> bool:
    """kopf writes down what it has handled when it is done with it."""
    return LAST_HANDLED in found["metadata"].get("annotations", {})


def test_creation_and_change_are_handled(kube: Kube, operator: Operator, namespace: str, name: str) -> None:
    changes: list[Any] = []

    @kopf.on.create(**RESOURCE, registry=operator.registry)
    def created(body: kopf.Body, patch: kopf.Patch, **_: Any) -> dict[str, str]:
        patch.status["phase"] = "Made"
        return {"name": body["metadata"]["name"]}

    @kopf.on.update(**RESOURCE, registry=operator.registry)
    def changed(diff: kopf.Diff, patch: kopf.Patch, **_: Any) -> None:
        changes.extend(diff)
        patch.status["phase"] = "Changed"

    with operator.running():
        kube.create(gadget(name), namespace)
        kube.wait(GADGETS, name, namespace, until=lambda one: phase(one) == "Made" and handlers_are_done(one))
        kube.patch(GADGETS, name, {"spec": {"size": "L"}}, namespace)
        found = kube.wait(GADGETS, name, namespace, until=lambda one: phase(one) == "Changed")

    assert ("change", ("spec", "size"), "M", "L") in [tuple(change) for change in changes]
    assert found["metadata"]["generation"] == 2


def phase(found: Object) -> str | None:
    return found.get("status", {}).get("phase")


def test_deletion_waits_for_its_handler(kube: Kube, operator: Operator, namespace: str, name: str) -> None:
    deleted = threading.Event()
    may_end = threading.Event()

    @kopf.on.delete(**RESOURCE, registry=operator.registry)
    def ended(**_: Any) -> None:
        if not may_end.is_set():
            raise kopf.TemporaryError("not yet", delay=0.1)
        deleted.set()

    with operator.running():
        kube.create(gadget(name), namespace)
        kube.wait(GADGETS, name, namespace, until=lambda one: one["metadata"].get("finalizers"))
        kube.delete(GADGETS, name, namespace)
        assert "deletionTimestamp" in kube.get(GADGETS, name, namespace)["metadata"]
        may_end.set()
        kube.gone(GADGETS, name, namespace)

    assert deleted.is_set()


def test_children_are_adopted_and_go_with_their_parent(
    kube: Kube, operator: Operator, namespace: str, name: str
) -> None:
    @kopf.on.create(**RESOURCE, registry=operator.registry)
    def created(**_: Any) -> None:
        child = config_map(f"{name}-child", {"a": "1"})
        kopf.adopt(child)
        kube.create(child, namespace)

    with operator.running():
        parent = kube.create(gadget(name), namespace)
        child = kube.wait("configmaps", f"{name}-child", namespace, until=bool)
        kube.wait(GADGETS, name, namespace, until=handlers_are_done)

    [owner] = child["metadata"]["ownerReferences"]
    assert (owner["uid"], owner["controller"]) == (parent["metadata"]["uid"], True)
    kube.delete(GADGETS, name, namespace)
    kube.gone("configmaps", f"{name}-child", namespace, timeout=150)


def test_what_was_handled_before_is_resumed(
    kube: Kube, operator: Operator, namespace: str, name: str
) -> None:
    resumed, wanted = threading.Event(), name

    @kopf.on.create(**RESOURCE, registry=operator.registry)
    def created(**_: Any) -> None:
        pass

    with operator.running():
        kube.create(gadget(name), namespace)
        before = kube.wait(GADGETS, name, namespace, until=handlers_are_done)

    after = Operator(namespace)

    @kopf.on.resume(**RESOURCE, when=lambda name, **_: name == wanted, registry=after.registry)
    def found(**_: Any) -> None:
        resumed.set()

    with after.running():
        assert resumed.wait(120)
    assert kube.get(GADGETS, name, namespace) == before


def test_fields_are_watched(kube: Kube, operator: Operator, namespace: str, name: str) -> None:
    @kopf.on.field(**RESOURCE, field="spec.replicas", registry=operator.registry)
    def scaled(old: int | None, new: int, patch: kopf.Patch, **_: Any) -> None:
        patch.status["phase"] = f"{old} to {new}"

    with operator.running():
        kube.create(gadget(name), namespace)
        kube.wait(
            GADGETS, name, namespace, until=lambda one: phase(one) == "None to 1" and handlers_are_done(one)
        )
        kube.patch(GADGETS, name, {"spec": {"replicas": 4}}, namespace, subresource="scale")
        kube.wait(GADGETS, name, namespace, until=lambda one: phase(one) == "1 to 4")


def test_timers_and_daemons_run_while_the_object_lives(
    kube: Kube, operator: Operator, namespace: str, name: str
) -> None:
    ticks = threading.Semaphore(0)
    ended, wanted = threading.Event(), name

    @kopf.timer(**RESOURCE, when=lambda name, **_: name == wanted, interval=0.1, registry=operator.registry)
    def tick(**_: Any) -> None:
        ticks.release()

    @kopf.daemon(**RESOURCE, when=lambda name, **_: name == wanted, registry=operator.registry)
    async def live(stopped: kopf.DaemonStopped, **_: Any) -> None:
        await stopped.wait()
        ended.set()

    with operator.running():
        kube.create(gadget(name), namespace)
        for _ in range(3):
            assert ticks.acquire(timeout=120)
        kube.delete(GADGETS, name, namespace)
        kube.gone(GADGETS, name, namespace)
        assert ended.wait(120)


def test_indices_and_events_write_nothing(kube: Kube, operator: Operator, namespace: str, name: str) -> None:
    sizes: list[str] = []
    gone, wanted = threading.Event(), name

    @kopf.index(**RESOURCE, id="by_size", registry=operator.registry)
    def by_size(spec: kopf.Spec, name: str, **_: Any) -> dict[str, str]:
        return {spec["size"]: name}

    @kopf.on.event(**RESOURCE, when=lambda name, **_: name == wanted, registry=operator.registry)
    def seen(type: str | None, by_size: kopf.Index[str, str], **_: Any) -> None:  # noqa: A002 - kopf's word
        if type == "DELETED":
            gone.set()
        else:
            sizes.append("".join(size for size in "SML" if name in by_size.get(size, [])))

    created = kube.create(gadget(name), namespace)
    with operator.running():
        eventually(lambda: sizes, until=lambda found: found == ["M"])
        patched = kube.patch(GADGETS, name, {"spec": {"size": "L"}}, namespace)
        eventually(lambda: sizes, until=lambda found: "L" in found)
        assert kube.get(GADGETS, name, namespace) == patched
        kube.delete(GADGETS, name, namespace)
        assert gone.wait(120)

    assert "finalizers" not in created["metadata"]


def test_events_are_posted(kube: Kube, operator: Operator, namespace: str, name: str) -> None:
    @kopf.on.create(**RESOURCE, registry=operator.registry)
    def created(body: kopf.Body, **_: Any) -> None:
        kopf.event(body, type="Warning", reason="Tested", message="a test was here")

    with operator.running():
        kube.create(gadget(name), namespace)
        selector = f"involvedObject.name={name},reason=Tested"
        found = kube.wait_all("events", namespace, until=bool, fieldSelector=selector)

    [event] = found.values()
    assert (event["type"], event["message"]) == ("Warning", "a test was here")
    assert event["involvedObject"]["kind"] == "Gadget"


def test_a_handler_is_tried_again(kube: Kube, operator: Operator, namespace: str, name: str) -> None:
    @kopf.on.create(**RESOURCE, registry=operator.registry)
    def created(retry: int, patch: kopf.Patch, **_: Any) -> None:
        if retry < 2:
            raise kopf.TemporaryError("not yet", delay=0.1)
        patch.status["phase"] = f"after {retry}"

    with operator.running():
        kube.create(gadget(name), namespace)
        found = kube.wait(
            GADGETS, name, namespace, until=lambda one: phase(one) == "after 2" and handlers_are_done(one)
        )

    # What kopf notes down between the attempts is taken away again.
    assert not any("created" in annotation for annotation in found["metadata"]["annotations"])


def test_labels_select_what_is_handled(
    kube: Kube, operator: Operator, namespace: str, new_name: Callable[[], str]
) -> None:
    @kopf.on.create(**RESOURCE, labels={"handle": "yes"}, registry=operator.registry)
    def created(patch: kopf.Patch, **_: Any) -> None:
        patch.status["phase"] = "Handled"

    plain, labelled = new_name(), new_name()
    with operator.running():
        kube.create(gadget(plain), namespace)
        kube.create(gadget(labelled, metadata={"labels": {"handle": "yes"}}), namespace)
        kube.wait(GADGETS, labelled, namespace, until=lambda one: phase(one) == "Handled")

    assert phase(kube.get(GADGETS, plain, namespace)) is None
