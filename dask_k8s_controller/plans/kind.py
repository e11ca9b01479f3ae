"""What the controller needs to know of a kind of objects: one way through it for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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


def no_first_status(observed: Any) -> Status | None:
    """Write nothing before the first plan."""
    return None


@dataclass(frozen=True)
class Kind(Generic[O, P]):
    """A kind of objects, and what is done about one of them.

    Parameters
    ----------
    resource : Resource
        What the API server calls it.
    parse : callable
        Makes an object of its JSON, and of what was known of it.
    observe : callable
        Gathers, from the cache, what a plan needs; None if there is no such object. Changes nothing.
    plan : callable
        Decides what to do next. Pure.
    status : callable
        Says how the object stands after its plan was carried out. Pure.
    keys : callable
        Names the objects of this kind that a change of any object concerns: of what it is now, and what it
        was before, if it was known and is not gone.
    notices : callable
        Finds what is worth an Event in a new status: of what was observed, the plan, its outcome, the status.
    first_status : callable
        The status to write before anything is done, as it tells that a controller acts; None if that is past.
    plans_from_status : bool
        Whether a status that was just written may call for another plan.
    """

    resource: Resource
    parse: Callable[[Mapping[str, Any], Any], Custom[Any]]
    observe: Callable[[Cache, Key], O | None]
    plan: Callable[[O, Policy], P]
    status: Callable[[O, P, Outcome], Status]
    keys: Callable[[Cache, Any, Any], Iterable[Key]]
    notices: Callable[[O, P, Outcome, Status], Iterable[Notice]]
    first_status: Callable[[O], Status | None] = no_first_status
    plans_from_status: bool = True
