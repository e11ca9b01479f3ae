"""A stand-in for the API server, with this package's client of it."""

from __future__ import annotations

from typing import Any, Self

from dask_k8s_client.api import Api
from dask_k8s_credentials import Credentials
from tests.harness.stand_in import Json, StandIn


class ScriptedServer(StandIn):
    """`api` speaks to it."""

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self.api = await Api(loader=lambda: Credentials(self.url, ssl_context=self.tls))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.api.close()
        await super().__aexit__()


def an_object(name: str = "foo", version: int = 1, **rest: Any) -> Json:
    """Return an object with the metadata that every object has."""
    metadata = {
        "name": name,
        "uid": f"uid-of-{name}",
        "resourceVersion": str(version),
        "namespace": "default",
    }
    return {"metadata": metadata, **rest}
