"""What the image and the workflows have of others is named by what can't change."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).parents[2]
WORKFLOWS = sorted((PROJECT / ".github" / "workflows").glob("*.yaml"))
BY_TAG = {"azure/setup-helm", "pypa/gh-action-pypi-publish"}
"""Actions whose commits Renovate has yet to fill in."""


def jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in WORKFLOWS:
        for name, job in yaml.safe_load(path.read_text())["jobs"].items():
            yield f"{path.stem}.{name}", job


def actions(job: dict[str, Any]) -> list[tuple[str, str]]:
    return [tuple(step["uses"].split("@")) for step in job["steps"] if "uses" in step]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_commits_with_the_version_behind(path: Path) -> None:
    for line in re.findall(r"uses: (.*)", path.read_text()):
        if line.partition("@")[0] not in BY_TAG:
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", line)


def test_who_signs_runs_nothing_that_can_change() -> None:
    signing = {name: job for name, job in jobs() if job.get("permissions", {}).get("id-token") == "write"}
    assert "release.image" in signing
    for name, job in signing.items():
        movable = {action for action, version in actions(job) if not re.fullmatch("[0-9a-f]{40}", version)}
        assert movable <= ({"pypa/gh-action-pypi-publish"} if name == "release.package" else set()), name


def test_renovate_fills_in_commits_and_digests() -> None:
    settings = json.loads((PROJECT / ".github" / "renovate.json").read_text())
    assert {"docker:pinDigests", "helpers:pinGitHubActionDigests"} <= set(settings["extends"])
    assert {"dockerfile", "github-actions"} <= set(settings["enabledManagers"])
