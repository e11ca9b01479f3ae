"""An API server takes no CRD whose rules might become too expensive; these are far from that.

It estimates before it has seen any object: a string without maxLength may fill a request, a rule below a list
or map runs once for each of as many items as a request can hold. Here every string is taken for unbounded.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#resource-use-by-validation-functions
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import pytest

from dask_k8s_models import custom_resource_definitions

Json = dict[str, Any]

LIMIT_OF_A_RULE = 10_000_000
LIMIT_OF_A_DEFINITION = 100_000_000

LONGEST_STRING = 3 * 1024 * 1024
TRAVERSAL = math.ceil(LONGEST_STRING / 10)
"""Reading a string once, e.g. to compare it."""


def highest_cost(rule: str) -> int:
    """Return an upper bound of what an API server estimates."""
    patterns = re.findall(r"\.matches\('([^']*)'\)", rule)
    plain = re.sub(r"'[^']*'", "''", rule)
    comparisons = len(re.findall(r"==|!=", plain))
    anything_else = len(re.findall(r"\w+|\W", plain))
    return sum(TRAVERSAL * math.ceil(len(p) / 4) for p in patterns) + TRAVERSAL * comparisons + anything_else


def rules(schema: Json) -> Iterator[str]:
    yield from (validation["rule"] for validation in schema.get("x-kubernetes-validations", ()))
    for field in schema.get("properties", {}).values():
        yield from rules(field)


@pytest.mark.parametrize("definition", custom_resource_definitions(), ids=lambda crd: crd["metadata"]["name"])
def test_rules_are_cheap(definition: Json) -> None:
    [version] = definition["spec"]["versions"]
    costs = [highest_cost(rule) for rule in rules(version["schema"]["openAPIV3Schema"])]
    assert costs
    assert max(costs) < LIMIT_OF_A_RULE / 3
    assert sum(costs) < LIMIT_OF_A_DEFINITION / 10


def test_the_bound_is_as_documented() -> None:
    """Of 10 % of a string's length to traverse it, times a quarter of the pattern's length to match it."""
    assert highest_cost("self.name.matches('^[a-z]*$')") - 2 * TRAVERSAL in range(1, 20)
    assert highest_cost("self.a == self.b") - TRAVERSAL in range(1, 20)
