"""Objects of our own kinds: their metadata, their spec as a model, their status as it stands. Pure."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Self, TypeVar, cast

from pydantic import BaseModel, ValidationError

from dask_k8s_controller.cache.objects import By, JsonObject, Meta
from dask_k8s_models.markers import without_nulls

S = TypeVar("S", bound=BaseModel)
R = TypeVar("R")


@dataclass(frozen=True)
class Custom(Generic[S]):
    """An object of one of our kinds."""

    kind: ClassVar[str]
    model: ClassVar[type[BaseModel]]

    meta: Meta
    spec: S | None
    """As a model; None if the models refuse it, which our CRDs don't let happen."""
    raw_spec: JsonObject = field(default_factory=dict)
    """As the user wrote it, without nulls."""
    status: JsonObject = field(default_factory=dict)
    """As we wrote it last."""
    problem: str = ""
    """What the models have against the spec."""
    _made: dict[object, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What was made of the spec, the labels and the annotations, by the function that made it."""

    @classmethod
    def of(cls, body: JsonObject, known: Self | None = None) -> Self:
        """Parse an object's JSON; in the same generation what was ``known`` of its spec stays."""
        meta, status = Meta.of(body), body.get("status") or {}
        if known is not None and meta.generation and meta.generation == known.meta.generation:
            again = copy.copy(known)
            is_alike = (meta.labels, meta.annotations) == (known.meta.labels, known.meta.annotations)
            vars(again).update(meta=meta, status=status, _made=known._made if is_alike else {})
            return again
        raw, spec, problem = without_nulls(body.get("spec") or {}), None, ""
        try:
            spec = cast(S, cls.model.model_validate(raw))
        except ValidationError as error:
            problem = "; ".join(
                f"spec.{'.'.join(str(part) for part in item['loc'])}: {item['msg']}"
                for item in error.errors(include_url=False)
            )
        return cls(meta, spec, raw, status, problem)

    def once(self, make: Callable[[Self], R]) -> R:
        """Return what a function makes of this object, once for all versions that differ in their status.

        It has to be a function of a module, which is known by its identity, and to look at no status. What
        it makes is shared: it is not to be changed.
        """
        if make not in self._made:
            self._made[make] = make(self)
        made: R = self._made[make]
        return made

    def differs(self, before: Self | None, *status_fields: str) -> bool:
        """Whether anything is new since an earlier version, of its status no more than these fields."""
        return (
            before is None
            or self.meta != before.meta
            or self.raw_spec != before.raw_spec
            or any(self.status.get(field) != before.status.get(field) for field in status_fields)
        )

    @property
    def name(self) -> str:
        """The object's name."""
        return self.meta.name

    def condition(self, name: str) -> JsonObject:
        """Return the condition of that type as the status has it; empty if there is none."""
        return next((item for item in self.status.get("conditions") or () if item["type"] == name), {})

    def index(self) -> Iterable[By]:
        """Return the keys by which the object is found: its name, and the cluster that it names."""
        yield By("name", self.meta.namespace, self.meta.name)
        if cluster := getattr(self, "cluster", ""):
            yield By("cluster", self.meta.namespace, cluster)
