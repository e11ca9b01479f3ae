"""YAML as Kubernetes reads it, which is neither quite YAML 1.1, PyYAML's dialect, nor 1.2.

Kubernetes knows ``1e3`` as a number and ``y`` as a boolean; PyYAML knows ``1:30`` as the number 90 and
``2026-11-23`` as a date.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable
from typing import Any

import yaml

BOOLEAN = re.compile(
    r"^(y|Y|yes|Yes|YES|on|On|ON|true|True|TRUE|n|N|no|No|NO|off|Off|OFF|false|False|FALSE)$"
)
INTEGER = re.compile(r"^[-+]?(0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|[1-9][0-9_]*)$|^[-+]?0$")
NUMBER = re.compile(
    r"^[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?$|^[-+]?[0-9]+[eE][-+]?[0-9]+$"
    r"|^[-+]?0[0-9]*[89][0-9]*$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$"
)


class Loader(yaml.SafeLoader):
    """Reads scalars as Kubernetes does; all keys are strings."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (a dict of the class, as in the base)
    bool_values = {**yaml.SafeLoader.bool_values, "y": True, "n": False}  # noqa: RUF012

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Return a mapping whose keys are strings, as in JSON."""
        self.flatten_mapping(node)
        return {
            key_text(self.construct_object(key, deep=True)): self.construct_object(value, deep=deep)
            for key, value in node.value
        }


class Dumper(yaml.SafeDumper):
    """Quotes what either PyYAML or Kubernetes would not read as a string, and writes no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        """Repeat what is there twice: many tools can't read anchors."""
        return True


for _tag, _pattern, _first in (
    ("bool", BOOLEAN, "yYnNtTfFoO"),
    ("int", INTEGER, "-+0123456789"),
    ("float", NUMBER, "-+.0123456789"),
):
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, list(_first))
    Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, list(_first))
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile(r"^(~|null|Null|NULL|)$"), ["~", "n", "N", ""]
)
Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"^<<$"), ["<"])


def key_text(key: Hashable) -> str:
    """Write a key as JSON does."""
    return key if isinstance(key, str) else json.dumps(key, default=str)


def to_yaml(*documents: dict[str, Any]) -> str:
    """Write manifests as YAML, in their own order and without anchors.

    Parameters
    ----------
    *documents : dict
        The manifests.

    Returns
    -------
    str
        One document after the other, divided by ``---``.
    """
    return yaml.dump_all(documents, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=110)
