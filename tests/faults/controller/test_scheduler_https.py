"""Schedulers that serve HTTPS: believed if they have the certificate that the controller made."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import dask
import pytest

from dask_k8s_controller.cache.certificate import fingerprint
from dask_k8s_controller.cluster.tls import UNVERIFIED
from dask_k8s_controller.kubernetes.api import Api
from dask_k8s_controller.kubernetes.certificates import issue
from dask_k8s_controller.kubernetes.connection import Connection
from dask_k8s_controller.kubernetes.errors import BadAnswer, Unreachable
from dask_k8s_controller.scheduler import preload
from dask_k8s_controller.scheduler.answers import Demand
from dask_k8s_controller.scheduler.client import SchedulerClient
from dask_k8s_controller.scheduler.endpoint import Endpoint
from tests.harness.stand_in import StandIn

NOW = datetime.now(UTC).replace(microsecond=0)
ENDS = NOW + timedelta(days=1)
PAIR = issue("c", ["localhost"], NOW, ENDS)
OTHER = issue("c", ["localhost"], NOW, ENDS)


@pytest.fixture
async def scheduler(tmp_path: Path) -> AsyncIterator[StandIn]:
    (tmp_path / "both").write_text(PAIR.key + PAIR.certificate)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "both")
    async with StandIn({"workers": 3}, context=context) as scheduler:
        yield scheduler


@pytest.fixture
async def client() -> AsyncIterator[SchedulerClient]:
    async def log_in() -> Connection:
        return Connection("http://nowhere", aiohttp.ClientSession(), True, "default")

    api = Api(log_in)
    client = SchedulerClient(api)
    yield client
    await client.close()
    await api.close()


def endpoint(scheduler: StandIn, https: str) -> Endpoint:
    return Endpoint("ns", "uid", "c-scheduler", "127.0.0.1", scheduler.port, https=https)


@pytest.mark.parametrize("https", [fingerprint(PAIR.certificate), UNVERIFIED], ids=["ours", "the user's"])
async def test_its_answer_is_taken(client: SchedulerClient, scheduler: StandIn, https: str) -> None:
    assert await client.demand(endpoint(scheduler, https)) == Demand(3)


async def test_somebody_elses_is_not(client: SchedulerClient, scheduler: StandIn) -> None:
    with pytest.raises(Unreachable):
        await client.demand(endpoint(scheduler, fingerprint(OTHER.certificate)))


async def test_its_certificate_is_read(client: SchedulerClient, scheduler: StandIn) -> None:
    scheduler.answers = [{"certificate": PAIR.certificate}]
    served = await client.certificate(endpoint(scheduler, UNVERIFIED))
    assert (served.pem, served.not_after) == (PAIR.certificate, ENDS)


@pytest.mark.parametrize("answer", [{}, {"certificate": ""}, {"certificate": 1}, {"certificate": PAIR.key}])
async def test_what_is_no_certificate_is_not_believed(
    client: SchedulerClient, scheduler: StandIn, answer: object
) -> None:
    scheduler.answers = [answer]
    with pytest.raises(BadAnswer):
        await client.certificate(endpoint(scheduler, UNVERIFIED))


@pytest.mark.parametrize(
    "text",
    [PAIR.certificate, PAIR.key + PAIR.certificate, PAIR.certificate + PAIR.authority + PAIR.key],
    ids=["certificate", "key first", "chain"],
)
def test_a_scheduler_tells_the_public_part_alone(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preload, "certificates", [])
    (tmp_path / "mine").write_text(text)
    for written in (str(tmp_path / "mine"), text):
        preload.certificates.clear()
        with dask.config.set({"distributed.comm.tls.scheduler.cert": written}):
            preload.read_certificate()
        assert preload.certificates == [PAIR.certificate]


@pytest.mark.parametrize("written", [None, "/no/such/file"])
def test_a_scheduler_without_a_certificate_tells_none(
    written: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preload, "certificates", [])
    with dask.config.set({"distributed.comm.tls.scheduler.cert": written}):
        preload.read_certificate()
    assert preload.certificates == []
