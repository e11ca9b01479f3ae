"""What the controller needs to know of a kind of objects: one way through it for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from dask_k8s_controller.cache.cache import Cache
from dask_k8s_controller.cache.custom import Custom
from dask_k8s_controller.plans.actions import Outcome
from dask_k8s_controller.plans.conditions import Status
from dask_k8s_controller.plans.notices import Notice
from dask_k8s_controller.plans.plan import O, Plan
from dask_k8s_controller.settings import Policy

if TYPE_CHECKING:
    from dask_k8s_controller.kubernetes.resources import Key, Resource


P = TypeVar("P", bound=Plan[Any])


@dataclass(frozen=True)
class Kind(Generic[O, P]):
    """A kind of objects, and what is done about one of them. Nothing but the cache is asked, or changed."""

    resource: Resource
    object_type: type[Custom[Any]]
    """What its objects are, parsed."""
    gather: Callable[[Cache, Any], O]
    """Gathers what the plan of an object needs."""
    plan: Callable[[O, Policy], P]
    """Decides what to do next."""
    status: Callable[[O, P, Outcome], Status]
    """Says how the object stands after its plan was carried out."""
    keys: Callable[[Cache, Any, Any], Iterable[Key]]
    """Names the objects of this kind that a change of any object concerns: of what it is now, and what it was
    before, if it was known and is not gone."""
    notices: Callable[[O, P, Outcome, Status], Iterable[Notice]]
    """Finds what is worth an Event in a new status."""
    first_status: Callable[[O], Status | None] = lambda observed: None
    """The status to write before anything is done, as it tells that a controller acts; None afterwards."""
    plans_from_status: bool = True
    """A status that was just written may call for another plan."""
    concerned: Callable[[Cache, Key], Iterable[Key]] = lambda cache, key: ()
    """Names the objects of this kind that a scheduler's answer to one of them concerns, too."""

    is_held_back: Callable[[Cache, Any], bool] = lambda cache, subject: False
    """Whether an object is not to start for now, which is no part of the time that its start takes."""

    def observe(self, cache: Cache, key: Key) -> O | None:
        """Gather what a plan needs; None if there is no such object, or it is being deleted."""
        found = cache.get(self.object_type, key.namespace, key.name)
        return None if found is None or found.meta.is_deleting else self.gather(cache, found)
