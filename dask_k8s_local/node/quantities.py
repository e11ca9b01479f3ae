"""Amounts of resources."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from dask_k8s_local.api.quantity import parse

Resources = dict[str, Decimal]
"""Amounts by resource name, e.g. ``{"cpu": Decimal("0.5")}``."""


def parse_resources(quantities: Mapping[str, str | int | float] | None) -> Resources:
    return {name: parse(quantity) for name, quantity in (quantities or {}).items()}


def total(amounts: Iterable[Resources]) -> Resources:
    result: Resources = {}
    for amount in amounts:
        for name, value in amount.items():
            result[name] = result.get(name, Decimal(0)) + value
    return result


def larger(one: Resources, other: Resources) -> Resources:
    """Return the larger amount of each resource."""
    return {
        name: max(one.get(name, Decimal(0)), other.get(name, Decimal(0)))
        for name in one.keys() | other.keys()
    }
