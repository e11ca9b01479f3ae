"""Helm's commands that the documentation shows, where there is no Helm: ``python -m tests.harness.helm``."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import helm_python
import yaml

PROJECT = Path(__file__).parents[2]


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


def command_in(folder: Path) -> str:
    """Return a folder with Helm's command, to be searched before others; an empty one where there is Helm."""
    tools = folder / "tools"
    tools.mkdir()
    if shutil.which("helm") is None:
        helm = tools / "helm"
        helm.write_text(f'#!/bin/sh\nPYTHONPATH={PROJECT} exec {sys.executable} -m tests.harness.helm "$@"\n')
        helm.chmod(0o755)
    return str(tools)


def rendered(given: argparse.Namespace, settings: dict[str, Any]) -> str:
    """Return what ``helm template`` writes: definitions are templates here."""
    release, chart = given.names
    texts = helm_python.Chart.load(chart).render(settings, name=release, namespace=given.namespace)
    return "".join(
        f"---\n# Source: {name}\n{text}\n"
        for name, text in texts.items()
        if name.endswith(".yaml") and text.strip() and not (given.skip_tests and "/tests/" in name)
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="helm")
    parser.add_argument("command", choices=("install", "upgrade", "uninstall", "template", "test"))
    parser.add_argument("names", nargs="+", help="release and chart")
    parser.add_argument("-n", "--namespace", default="default")
    parser.add_argument("--create-namespace", action="store_true")
    parser.add_argument("--take-ownership", action="store_true")
    parser.add_argument("--generate-name", action="store_true")
    parser.add_argument("--include-crds", action="store_true")
    parser.add_argument("--skip-tests", action="store_true")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("-f", "--values", action="append", default=[])
    given = parser.parse_args()
    expected = 1 if given.command in ("uninstall", "test") or given.generate_name else 2
    if len(given.names) != expected:
        parser.error(f"{given.command} takes {expected} names, not {given.names}")
    return given


def main() -> None:
    given = arguments()
    settings = values(given.set)
    for file in given.values:
        settings = {**yaml.safe_load(Path(file).read_text()), **settings}
    chart = Path(given.names[-1])
    release = f"{chart.name}-{time.time():.0f}" if given.generate_name else given.names[0]
    if given.command == "template":
        print(rendered(given, settings))
        return
    with helm_python.Config(kubeconfig_path=os.environ["KUBECONFIG"], namespace=given.namespace) as config:
        if given.command == "uninstall":
            done = config.uninstall(release)
        elif given.command == "test":
            done = config.test(release)["release"]
        else:
            more = {"create_namespace": True} if given.create_namespace else {}
            with taking_ownership() if given.take_ownership else nullcontext():
                done = getattr(config, given.command)(chart, release, settings, **more)
    print(yaml.safe_dump({key: done.get(key) for key in ("name", "namespace", "status")}), file=sys.stdout)


if __name__ == "__main__":
    main()
