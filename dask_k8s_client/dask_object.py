# mypy: disallow-untyped-calls=False
"""What all of Dask's kinds have in common as kr8s objects: strict, by uid, across gaps, with our errors."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

import kr8s.asyncio.objects
import kr8s.objects
from box import Box
from kr8s._objects import JSONPATH_CONDITION_EXPRESSION, APIObject

import dask_k8s_models as models
from dask_k8s_client import connections, raw
from dask_k8s_client.api import Api
from dask_k8s_client.create import check, explained
from dask_k8s_client.errors import (
    ForbiddenError,
    InvalidError,
    NotFoundError,
    ResourceTimeoutError,
    with_remedy,
)
from dask_k8s_client.groups import is_whole
from dask_k8s_client.resources import PODS, Resource
from dask_k8s_client.watch import Informer
from dask_k8s_models import labels

Json = dict[str, Any]
M = TypeVar("M", bound=models.Resource)


class DaskObject(APIObject, Generic[M]):
    """One of Dask's kinds; see `kr8s.asyncio.objects.APIObject` for what every kind has.

    Parameters
    ----------
    resource : dict, str or model
        A manifest, a name, or one of the models of `dask_k8s_models`.
    namespace : str, optional
        Instead of the manifest's, else the connection's.
    api : Api, optional
        The connection; the event loop's own, or the process's, if omitted.
    """

    version = models.API_VERSION
    namespaced = True
    _model: ClassVar[type[models.Resource]]

    def __init__(self, resource: Any, namespace: str | None = None, api: Any = None) -> None:
        if isinstance(resource, Mapping):
            resource = {**resource, "metadata": dict(resource.get("metadata") or {})}
        if api is None and not self._asyncio:
            api = connections.sync_api()
        super().__init__(resource, namespace=namespace, api=api)

    def __await__(self) -> Any:
        async def connected() -> Any:
            if self._api is None:
                self._api = await connections.api()
            return self

        return connected().__await__()

    @property
    def model(self) -> M:
        """The object as the models of `dask_k8s_models` describe it, with types.

        Raises
        ------
        ValidationError
            It isn't valid, with each field and what is wrong with it.
        """
        content = self.to_dict()
        check(content)
        return self._model.model_validate(content)  # type: ignore[return-value]

    @property
    def status(self) -> Box:
        """What the controller says; empty before it has said anything."""
        return self.raw.get("status") or Box({})

    @status.setter
    def status(self, value: Json) -> None:
        self.raw["status"] = value

    @classmethod
    async def async_get(
        cls,
        name: str | None = None,
        namespace: str | None = None,
        api: Any = None,
        label_selector: str | dict[str, str] | None = None,
        field_selector: str | dict[str, str] | None = None,
        timeout: int = 2,
        **kwargs: Any,
    ) -> Self:
        """Read one object: by its name with a single request, else by selectors as kr8s does.

        Raises
        ------
        NotFoundError
            There is none of that name.
        """
        api = api or await cls._connected()
        if name is None or label_selector or field_selector:
            found: Self = await super().async_get(
                name, namespace, api, label_selector, field_selector, timeout, **kwargs
            )
            return found
        try:
            return cls(await raw.get(api, cls._resource().path(namespace or api.namespace, name)), api=api)
        except ForbiddenError as error:
            raise with_remedy(error) from error

    @classmethod
    async def async_list(cls, api: Any = None, **kwargs: Any) -> AsyncGenerator[Any]:
        """Yield the objects of a namespace; ``namespace=kr8s.ALL`` those of all."""
        async for found in super().async_list(api=api or await cls._connected(), **kwargs):
            yield found

    async def async_create(self) -> None:
        """Create the object. It is checked before anything is sent, and unknown fields are refused.

        Raises
        ------
        ValidationError
            It isn't valid, with each field and what is wrong with it.
        AlreadyExistsError
            The name is taken.
        MissingCRDsError, ForbiddenError
            The API server's reasons, with the remedy.
        """
        body = self.to_dict()
        for key in ("resourceVersion", "uid", "managedFields"):
            body["metadata"].pop(key, None)
        check(body)
        try:
            self.raw = await raw.create(self._connection, self._resource().path(self.namespace), body)
        except (NotFoundError, ForbiddenError, InvalidError) as error:
            raise explained(error, str(self.namespace)) from error

    async def async_delete(
        self, propagation_policy: str | None = None, grace_period: int | None = None, force: bool = False
    ) -> None:
        """Delete the object: this one, and not another that has got its name meanwhile.

        Raises
        ------
        NotFoundError
            There is no such object.
        ConflictError
            It isn't this one any more.
        """
        options = {
            "propagationPolicy": propagation_policy,
            "gracePeriodSeconds": 0 if force else grace_period,
        }
        given = {key: value for key, value in options.items() if value is not None}
        try:
            await raw.delete(self._connection, self._path(), uid=self.metadata.get("uid"), **given)
        except ForbiddenError as error:
            raise with_remedy(error) from error

    async def async_exists(self, ensure: bool = False) -> bool:
        """Whether it is there; if it was read or created before, whether this very one is."""
        try:
            found = await raw.get(self._connection, self._path())
        except NotFoundError:
            if ensure:
                raise
            return False
        return self.metadata.get("uid") in (None, found["metadata"]["uid"])

    async def async_patch(
        self,
        patch: Json | list[Json],
        *,
        subresource: str | None = None,
        type: Any = None,  # noqa: A002
    ) -> None:
        """Change the object by a JSON merge patch, or by a JSON patch if it is a list."""
        try:
            answer = await raw.patch(self._connection, self._path(subresource or ""), patch)
        except ForbiddenError as error:
            raise with_remedy(error) from error
        if answer.get("kind") == self.kind:
            self.raw = answer
        else:  # Of ``scale`` the API server answers a Scale.
            await self.async_refresh()

    async def async_watch(self) -> AsyncGenerator[tuple[str, Self]]:
        """Yield each change of the object, for ever."""
        selector = {"fieldSelector": f"metadata.name={self.name}"}
        informer = Informer(self._connection, self._resource().path(self.namespace), params=selector)
        if self.metadata.get("resourceVersion"):
            informer.start_with(self.to_dict())
        async with aclosing(informer.changes()) as changes:
            async for event, found in changes:
                self.raw = found
                yield event, self

    async def async_wait(
        self,
        conditions: list[str] | str,
        mode: Literal["any", "all"] = "any",
        timeout: float | None = None,
    ) -> None:
        """Wait for conditions, as `kubectl wait --for` names them.

        Raises
        ------
        ResourceTimeoutError
            They didn't come about in time; the message says how the object is.
        NotFoundError
            There is no such object, or it was deleted meanwhile.
        """
        awaited = [conditions] if isinstance(conditions, str) else conditions
        try:
            async with asyncio.timeout(timeout):
                try:
                    await self.async_refresh()
                except NotFoundError:
                    if "delete" not in awaited:
                        raise
                    return
                if await self._test_conditions(awaited, mode):
                    return
                async with aclosing(self.async_watch()) as changes:
                    async for event, _ in changes:
                        if event == "DELETED" and "delete" not in awaited:
                            raise NotFoundError(f"The {self.kind} {self.name} was deleted meanwhile.", 404)
                        if event == "DELETED" or await self._test_conditions(awaited, mode):
                            return
        except TimeoutError as error:
            told = "; ".join(
                f"{one.get('type')}={one.get('status')} {one.get('reason', '')}: {one.get('message', '')}"
                for one in self.status.get("conditions") or []
            )
            raise ResourceTimeoutError(
                f"The {self.kind} {self.name} hasn't reached {', '.join(awaited)} "
                f"within {timeout:g} seconds. "
                f"Its conditions: {told or 'none; is the Dask Operator running?'}"
            ) from error

    async def _test_conditions(self, conditions: list[str], mode: Literal["any", "all"] = "any") -> bool:
        """Test as kr8s does.

        But a condition that speaks about an earlier spec doesn't hold, nor does what isn't there yet.
        """
        held = [await self._holds(condition) for condition in conditions]
        return all(held) if mode == "all" else any(held)

    async def _holds(self, condition: str) -> bool:
        is_behind = (self.status.get("observedGeneration") or 0) < (self.metadata.get("generation") or 0)
        if is_behind and condition.startswith("condition"):
            return False
        try:
            return bool(await super()._test_conditions([condition]))
        except ValueError:
            if re.search(JSONPATH_CONDITION_EXPRESSION, condition):
                return False  # no field of that path, or several
            raise

    @classmethod
    async def _connected(cls) -> Any:
        return await (connections.api() if cls._asyncio else connections.synchronous())

    @property
    def _connection(self) -> Api:
        connection: Api = self.api
        return connection

    @classmethod
    def _resource(cls) -> Resource:
        return Resource(cls.endpoint, f"/apis/{cls.version}")

    def _path(self, subresource: str = "") -> str:
        return self._resource().path(self.namespace, self.name, subresource)

    def _read_as(self, kind: Any, found: Json) -> Any:
        return kind(found, api=self.api)

    async def _pods(self, wanted: Mapping[str, str]) -> list[Json]:
        path = PODS.path(self.namespace)
        items = (await raw.get(self._connection, path, labelSelector=labels.selector(wanted)))["items"]
        return sorted(items, key=lambda pod: str(pod["metadata"]["name"]))

    @property
    def _pod_class(self) -> Any:
        return kr8s.asyncio.objects.Pod if self._asyncio else kr8s.objects.Pod


class Scalable(DaskObject[M]):
    """A kind with workers."""

    scalable = True
    scalable_spec = "worker.replicas"

    @property
    def replicas(self) -> int:
        """How many workers it asks for."""
        return int(self.spec.get("worker", {}).get("replicas", 1))

    @replicas.setter
    def replicas(self, value: int) -> None:
        raise NotImplementedError(f"Use scale({value}) to set the replicas of a {self.kind}.")

    async def async_scale(self, replicas: int | None = None) -> None:
        """Ask for so many workers, as `kubectl scale` does.

        Raises
        ------
        ValueError
            It isn't a whole number, 0 or more.
        """
        if not is_whole(replicas):
            raise ValueError(f"Cannot scale to {replicas!r} workers: it must be a whole number, 0 or more.")
        await self.async_patch({"spec": {"replicas": int(replicas or 0)}}, subresource="scale")


def hand_on_docstrings(*classes: type) -> None:
    """Describe each public method as the private one that does its work."""
    for one in classes:
        for name, method in vars(one).items():
            inner = getattr(one, f"async_{name}", None)
            if inner is not None and not method.__doc__:
                method.__doc__ = inner.__doc__
