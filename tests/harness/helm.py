"""Helm's commands that the documentation shows, where there is no Helm: ``python -m tests.harness.helm``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import helm_python
import yaml


def value(text: str) -> Any:
    """Return what ``--set`` makes of a text: ``{a,b}`` is a list, and numbers and booleans are no strings."""
    if text.startswith("{") and text.endswith("}"):
        return [value(part) for part in text[1:-1].split(",")]
    return yaml.safe_load(text)


def values(settings: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for setting in settings:
        path, _, text = setting.partition("=")
        *parents, last = path.split(".")
        inner = found
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[last] = value(text)
    return found


@contextmanager
def taking_ownership() -> Iterator[None]:
    """``--take-ownership``: an option of the library that its functions in Python don't hand on."""
    options = helm_python.config._opts

    def with_it(**given: Any) -> str | None:
        return options(**given, take_ownership=True)

    with mock.patch("helm_python.config._opts", with_it):
        yield


def main() -> None:
    parser = argparse.ArgumentParser(prog="helm")
    parser.add_argument("command", choices=("install", "upgrade", "uninstall"))
    parser.add_argument("release")
    parser.add_argument("chart", nargs="?")
    parser.add_argument("-n", "--namespace", default="default")
    parser.add_argument("--create-namespace", action="store_true")
    parser.add_argument("--take-ownership", action="store_true")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("-f", "--values", action="append", default=[])
    given = parser.parse_args()
    settings = values(given.set)
    for file in given.values:
        settings = {**yaml.safe_load(Path(file).read_text()), **settings}
    with helm_python.Config(kubeconfig_path=os.environ["KUBECONFIG"], namespace=given.namespace) as config:
        if given.command == "uninstall":
            done = config.uninstall(given.release)
        else:
            more = {"create_namespace": True} if given.create_namespace else {}
            with taking_ownership() if given.take_ownership else nullcontext():
                done = getattr(config, given.command)(
                    Path(given.chart or ""), given.release, settings, **more
                )
    print(yaml.safe_dump({key: done.get(key) for key in ("name", "namespace", "status")}), file=sys.stdout)


if __name__ == "__main__":
    main()
