"""Every single write of a flow breaks once, in each way; the controller dies after each: all converge.

On the local Kubernetes, whose pods need no processes here, with waits scaled down.
"""

from __future__ import annotations

import contextlib
import random
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from tests.harness.embedded import EmbeddedController
from tests.harness.flows import FLOWS, Flow, Stage, await_shape, pods_created_since, version_of_pods
from tests.harness.lab import Lab, a_lab
from tests.harness.proxy import ApiProxy, Fault, Write

# Controllers that end as abruptly as these leave coroutines that had no time to begin.
pytestmark = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")

FAULTS: tuple[Fault, ...] = (409, 429, 500, 503, "timeout", "lost answer")
AT_ONCE = 8
SEED = 20261123
NAMESPACE = re.compile(r"/namespaces/([^/]+)/")


def namespace_of(write: Write) -> str:
    found = NAMESPACE.search(write.path)
    return found.group(1) if found else ""


@dataclass
class Breakage:
    """Which write of a namespace breaks, and how; what the controller wrote there since."""

    number: int = 0
    fault: Fault | None = None
    writes: list[str] = field(default_factory=list)
    broken: str = ""

    def before(self, write: Write) -> Fault | None:
        self.writes.append(str(write))
        if len(self.writes) == self.number and self.fault is not None:
            self.broken = f"{self.fault} for write {self.number}, {write}"
            return self.fault
        return None


class Breaker:
    """Breaks writes by their namespace, so that many flows run side by side."""

    def __init__(self, proxy: ApiProxy) -> None:
        self._armed: dict[str, Breakage] = {}
        proxy.before = self._before

    def arm(self, namespace: str, breakage: Breakage) -> None:
        self._armed[namespace] = breakage

    def _before(self, write: Write) -> Fault | None:
        armed = self._armed.get(namespace_of(write))
        return armed.before(write) if armed else None


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    with a_lab(request) as found:
        yield found


@dataclass
class Running:
    """A controller, whose writes can be broken."""

    controller: EmbeddedController
    breaker: Breaker


@pytest.fixture
def running(lab: Lab) -> Iterator[Running]:
    with (
        ApiProxy(lab.kubeconfig) as proxy,
        EmbeddedController(proxy.kubeconfig, lab.schedulers) as controller,
    ):
        yield Running(controller, Breaker(proxy))


def run(flow: Flow, lab: Lab, running: Running, breakage: Breakage) -> Breakage:
    """Let a flow take place with one write broken, and see where it ends."""
    with lab.stage() as stage:
        flow.prepare(stage)
        await_shape(stage, flow.before)
        version = version_of_pods(stage)
        running.breaker.arm(stage.namespace, breakage)
        flow.act(stage)
        try:
            await_shape(stage, flow.after)
            created = pods_created_since(stage, version)
            assert len(created) == flow.created, f"created {created}"
            # What was created a moment too late would show by now.
            await_shape(stage, flow.after)
        except (AssertionError, TimeoutError) as error:
            error.add_note(
                f"{flow.name}, with {breakage.broken or 'nothing broken'}, wrote {breakage.writes}"
            )
            raise
    return breakage


def break_all(flow: Flow, lab: Lab, running: Running, breakages: list[Breakage]) -> list[str]:
    """Run a flow once for each breakage; return what has been broken."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        tried = list(pool.map(lambda breakage: run(flow, lab, running, breakage), breakages))
    return [breakage.broken for breakage in tried if breakage.broken]


FLOW = pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name.replace(" ", "-"))


@FLOW
def test_some_writes_break(flow: Flow, lab: Lab, running: Running) -> None:
    """A slice of what `test_every_write_breaks_in_every_way` tries, always the same one."""
    writes = len(run(flow, lab, running, Breakage()).writes)
    every = [Breakage(number, fault) for number in range(1, writes + 1) for fault in FAULTS]
    chosen = random.Random(f"{SEED} {flow.name}").sample(every, min(5, len(every)))
    broken = break_all(flow, lab, running, chosen)
    print(f"{flow.name}: {writes} writes, {len(broken)} faults tried")
    assert broken or not writes


@pytest.mark.full
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("fault", FAULTS)
@FLOW
def test_every_write_breaks_in_every_way(flow: Flow, fault: Fault, lab: Lab, running: Running) -> None:
    writes = len(run(flow, lab, running, Breakage()).writes)
    # One more, should there be more writes at times.
    broken = break_all(flow, lab, running, [Breakage(number, fault) for number in range(1, writes + 2)])
    print(f"{flow.name}: {len(broken)} of {writes} writes broken by {fault}")
    # Writes of a status may be one, or fewer, depending on what comes first.
    assert len(broken) >= writes // 2


class Mortal:
    """A controller that dies as soon as a certain write took effect, and others in its place."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._life = contextlib.ExitStack()

    def __enter__(self) -> Mortal:
        self.live()
        return self

    def __exit__(self, *_: object) -> None:
        self._life.close()

    def live(self) -> None:
        """Let another controller take the place of the present one."""
        self._life.close()
        self._proxy = self._life.enter_context(ApiProxy(self._lab.kubeconfig))
        self._controller = self._life.enter_context(
            EmbeddedController(self._proxy.kubeconfig, self._lab.schedulers)
        )

    def die_after(self, number: int, namespace: str) -> tuple[threading.Event, list[str]]:
        """Let that write in a namespace be the last that takes effect; the controller never hears of it."""
        is_dead = threading.Event()
        writes: list[Write] = []
        controller = self._controller

        def before(write: Write) -> Fault | None:
            if is_dead.is_set():
                return "timeout"
            if namespace_of(write) == namespace:
                writes.append(write)
            return None

        def after(write: Write) -> None:
            if len(writes) >= number and write == writes[number - 1]:
                is_dead.set()
                controller.end()

        self._proxy.before, self._proxy.after = before, after
        return is_dead, writes


def kill(mortal: Mortal, flow: Flow, lab: Lab, number: int) -> str | None:
    """Run a flow whose controller dies after a write; return the write, or None if there were fewer."""
    with lab.stage() as stage:
        flow.prepare(stage)
        await_shape(stage, flow.before)
        version = version_of_pods(stage)
        is_dead, writes = mortal.die_after(number, stage.namespace)
        flow.act(stage)
        if dies_meanwhile(stage, flow, is_dead):
            mortal.live()
        try:
            await_shape(stage, flow.after)
            created = pods_created_since(stage, version)
            assert len(created) == flow.created, f"created {created}"
            await_shape(stage, flow.after)
        except (AssertionError, TimeoutError) as error:
            error.add_note(f"{flow.name}, killed after write {number} of {[*map(str, writes)]}")
            raise
    return str(writes[number - 1]) if is_dead.is_set() else None


def dies_meanwhile(stage: Stage, flow: Flow, is_dead: threading.Event) -> bool:
    """Wait until the controller is dead, or the flow is done and no write has followed for a second."""
    deadline = time.monotonic() + 60
    while not is_dead.is_set():
        try:
            await_shape(stage, flow.after, timeout=0.3)
            return is_dead.wait(1)
        except TimeoutError:
            assert time.monotonic() < deadline, f"{flow.name} comes to no end though nobody died"
    return True


@pytest.mark.full
@pytest.mark.timeout(1200)
@FLOW
def test_the_controller_dies_after_every_write(flow: Flow, lab: Lab) -> None:
    killed: list[str] = []
    with Mortal(lab) as mortal:
        while write := kill(mortal, flow, lab, len(killed) + 1):
            killed.append(write)
    print(f"{flow.name}: killed {len(killed)} times, after {killed}")
