"""What is told to those who contribute is so: files, targets, versions."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).parents[2]
GUIDE = (PROJECT / "CONTRIBUTING.md").read_text()
MAKEFILE = (PROJECT / "Makefile").read_text()
TARGETS = {target for line in re.findall(r"^([a-z][^:=\n]*):", MAKEFILE, re.M) for target in line.split()}


def metadata() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    return project


def test_files_that_the_guide_names_exist() -> None:
    named = re.findall(r"`([\w./-]+)`", GUIDE)
    paths = [name for name in named if "/" in name or name.endswith((".md", ".toml"))]
    assert len(paths) > 10
    shipped = [path.split(" ")[0] for path in paths if "_build" not in path]
    assert [path for path in shipped if not (PROJECT / path).exists()] == []


def test_targets_that_are_named_exist() -> None:
    texts = [GUIDE, (PROJECT / "README.md").read_text()]
    texts += [path.read_text() for path in (PROJECT / ".github" / "workflows").iterdir()]
    named = {target for text in texts for target in re.findall(r"`?\$? ?make ([a-z][\w.-]*)", text)}
    assert {"setup", "test", "check", "demo"} <= named
    versions = {f"test-{version}" for version in pythons()}
    assert named - {"test-"} <= TARGETS
    assert versions <= TARGETS


def pythons() -> list[str]:
    classifiers = [text.rpartition(" :: ")[2] for text in metadata()["classifiers"] if "Python :: 3." in text]
    assert classifiers[0] == metadata()["requires-python"].removeprefix(">=")
    return classifiers


def test_hosted_tests_run_on_every_supported_python() -> None:
    workflow = yaml.safe_load((PROJECT / ".github" / "workflows" / "tests.yaml").read_text())

    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == pythons()


def test_hosted_tests_have_a_kubernetes_of_containers_that_runs_this_image() -> None:
    workflow = yaml.safe_load((PROJECT / ".github" / "workflows" / "tests.yaml").read_text())
    assert {"run": ".ci/kind"} in workflow["jobs"]["kind"]["steps"]

    script = (PROJECT / ".ci" / "kind").read_text()
    steps = [
        "docker build -f image/Dockerfile",
        "kind load docker-image",
        ".ci/installed",
        "pytest tests/e2e",
    ]
    assert sorted(steps, key=script.index) == steps
    assert os.access(PROJECT / ".ci" / "kind", os.X_OK)


def test_what_is_checked_at_a_commit_is_checked_by_make_too() -> None:
    [repository] = yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text())["repos"]

    for hook in repository["hooks"]:
        program = hook["entry"].removeprefix(".venv/bin/").replace("--fix", "").replace("--force-exclude", "")
        assert f"$(BIN)/{program.split(' --')[0].strip()}" in MAKEFILE, hook["name"]


def test_dependencies_have_lower_and_upper_bounds() -> None:
    extras = metadata()["optional-dependencies"]
    runtime = [*metadata()["dependencies"], *extras["controller"], *extras["local"], *extras["rich"]]

    unbound = [line for line in runtime if not re.search(r">=[\d.]+,<[\d.]+$", line)]

    assert unbound == []
